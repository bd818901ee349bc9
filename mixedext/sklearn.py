"""Mixed models as estimators of scikit-learn, which this module needs: pip install 'mixedext[sklearn]'."""

try:
    from mixedext.adapters.sklearn import MixedClassifier, MixedRegressor
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "sklearn":
        raise
    raise ImportError(
        "mixedext.sklearn needs scikit-learn; install it with: pip install 'mixedext[sklearn]'"
    ) from error

__all__ = ["MixedClassifier", "MixedRegressor"]
