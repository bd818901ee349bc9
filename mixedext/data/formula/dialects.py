"""What users of R and of neighbouring packages write, and what to write here: the tables of remedies."""

from __future__ import annotations

# ------------------------------------------------------------------------------------------- in formulas

#: Names of covariance structures that are read as a bar → whether the effects are correlated.
STRUCTURES_READ = {"us": True, "diag": False}
#: Names of those of lme4 2.0 and glmmTMB, the above included.
STRUCTURES = frozenset((*STRUCTURES_READ, "homdiag", "cs", "homcs", "ar1", "hetar1", "toep", "homtoep", "ou"))
STRUCTURES |= {"exp", "gau", "mat", "rr", "propto", "equalto", "mrf"}
STRUCTURE_NOT_OFFERED = (
    "is not offered as the covariance of a term: it is unstructured, us(x | g) or (x | g), or diagonal, "
    "diag(x | g) or (x || g)"
)

#: R's names with dots of what has another name here.
R_NAMES = {
    "as.factor": "factor",
    "as.numeric": "as_numeric",
    "as.integer": "as_integer",
    "is.na": "is_na",
    "contr.treatment": "Treatment",
    "contr.sum": "Sum",
    "contr.helmert": "Helmert",
    "contr.poly": "Poly",
    "contr.sdif": "Diff",
}
#: R's names with dots of arguments.
R_ARGUMENTS = {"na.rm": "na_rm"}

_SMOOTH = "a spline is written ns(x, df=4), bs(x, df=4) or cr(x, df=4)"
_IN_DATA = "make it a column of the data first"
#: What is said of functions of R, mgcv, brms, … that are not known.
FUNCTIONS = {
    **dict.fromkeys(("s", "ti", "t2", "lo", "gp", "rcs", "ps", "pspline", "mSpline"), _SMOOTH),
    "nsk": "the natural cubic spline is ns(x, df=3)",
    "cut": "make intervals in the data, data['x3'] = pd.cut(data['x'], [0, 3, 9])",
    "cut2": "make intervals in the data, data['x3'] = pd.cut(data['x'], [0, 3, 9])",
    "findInterval": "make intervals in the data, data['x3'] = pd.cut(data['x'], [0, 3, 9])",
    "ordered": "polynomial contrasts are C(f, Poly), in the order of the levels",
    "rep": f"{_IN_DATA}, np.repeat or np.tile",
    **dict.fromkeys(("lag", "diff", "cumsum", "rank", "ave", "seq", "rev", "order"), _IN_DATA),
    **dict.fromkeys(("rowSums", "rowMeans"), "write the sum, I(a + b), or make it a column of the data"),
    "length": "the number of rows is len(x)",
    "nchar": _IN_DATA,
    **dict.fromkeys(("paste", "paste0"), "the interaction of factors is a:b"),
    "interaction": "the interaction of factors is a:b; groups of several factors are by=[a, b]",
    "reorder": "order the levels in the data, pd.Categorical(f, categories=[...])",
    "fct_relevel": 'the reference level is set by relevel(f, ref="b") or C(f, Treatment("b"))',
    "as.logical": "write I(x != 0)",
    "as.Date": "dates are made in the data, data['day'] = pd.to_datetime(data['day'])",
    **{
        name: f"a part of a date is day.dt.{part}, with day the column"
        for name, part in (
            ("year", "year"),
            ("month", "month"),
            ("months", "month"),
            ("day", "day"),
            ("mday", "day"),
            ("wday", "dayofweek"),
            ("weekdays", "dayofweek"),
            ("yday", "dayofyear"),
            ("hour", "hour"),
            ("quarter", "quarter"),
        )
    },
    "xor": "write I(a != b) of booleans",
    "quantile": f"{_IN_DATA}, or write np.quantile(x, 0.5)",
    "gr": "a grouping factor is a column, (1 | g)",
    "mvbind": "a model has one response",
    "as.character": "a column of numbers becomes a factor by factor(x)",
    "as_character": "a column of numbers becomes a factor by factor(x)",
    "case_when": f"write ifelse(test, yes, no), or {_IN_DATA}",
    "if_else": "write ifelse(test, yes, no)",
    "scale2": "write scale(x)",
    "standardise": "write scale(x)",
    "gmc": "centre on the means of groups by center(x, by=g)",
    "offset": "an offset is added on its own: + offset(log(n))",
    "weights": "weights are given beside the formula, weights='column'",
    "trials": "write cbind(y, n - y) ~ …, or y / n ~ … with weights='n'",
    **dict.fromkeys(
        ("Error", "random", "re", "frailty", "strata", "cluster", "f", "mm"),
        "random effects are written (1 | g) or (1 + x | g)",
    ),
    "mo": "ordered predictors are factors here: C(f, Poly) or C(f, Diff)",
    "cbind2": "write cbind(success, failure)",
    "Surv": "survival times are not modelled here",
}
#: What is said of the names of R's constants where no column has them.
CONSTANTS = {
    "T": "R's T is TRUE: write TRUE",
    "F": "R's F is FALSE: write FALSE",
    "NA": "a missing value is np.nan",
    "Inf": "infinity is np.inf",
    "LETTERS": "list the levels",
}


def remedy_for_function(name: str) -> str:
    """Return ``": …"`` with what to write instead of a function, or an empty string."""
    return f": {FUNCTIONS[name]}" if name in FUNCTIONS else ""


# ------------------------------------------------------------------------------------------- of keywords
