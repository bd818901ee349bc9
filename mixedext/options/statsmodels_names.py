"""Names of statsmodels' results that results here do not have, and what each is here.

One table for three readers: errors of attributes, the guide docs/from_statsmodels.md, and the tests.
`result` are results of ``mx.lmer`` or ``mx.glmer``.
"""

from __future__ import annotations

#: Names parted by spaces, and what they are here.
NAMES_ELSEWHERE = (
    ("rsquared rsquared_adj prsquared pseudo_rsquared", "mx.r2(result), marginal and conditional"),
    ("fvalue f_pvalue llr llr_pvalue", "mx.anova(smaller, result), against the model without the terms"),
    ("compare_f_test compare_lm_test score_test", "mx.anova(smaller, result), a likelihood-ratio test"),
    ("mse_resid", "result.scale, the residual variance"),
    ("ess ssr mse_model mse_total centered_tss uncentered_tss", "mx.variance_parts(result), by variances"),
    (
        "HC0_se HC1_se HC2_se HC3_se cov_HC0 cov_HC1 cov_HC2 cov_HC3",
        'result.get_robustcov_results("cluster"), by groups',
    ),
    ("outlier_test", "result.resid_studentized, or result.get_influence().summary_frame()"),
    ("condition_number eigenvals", "result.vif() and result.diagnose()"),
    ("wresid", "result.resid_pearson"),
    ("resid_dev", "result.resid_deviance"),
    ("summary2", "result.summary()"),
    ("info_criteria", "result.aic, result.bic, and mx.compare(a, b) of several models"),
    ("get_margeff", "mx.for_marginaleffects(result), for marginaleffects' avg_slopes"),
    ("mu", "result.fittedvalues"),
    ("null null_deviance llnull", 'the model without predictors, result.update("y ~ 1 + (1 | g)")'),
    ("pearson_chi2", 'result.diagnose(["overdispersion"])'),
    ("get_hat_matrix_diag", "result.get_influence().hat_matrix_diag"),
    ("pred_table", "pandas.crosstab of the response and result.predict() > 0.5"),
    ("plot_partial_residuals plot_added_variable plot_ceres_residuals", 'result.plot_predictions("x")'),
    ("fe_params", "result.params"),
    ("bse_fe", "result.bse"),
    ("vcomp bse_re", "result.varcorr, with intervals by result.confint()"),
    ("cov_re_unscaled", "result.cov_re, over result.scale"),
    ("profile_re", "result.profile()"),
)

_BY_NAME = {name: ours for names, ours in NAMES_ELSEWHERE for name in names.split()}


def sentence_of_statsmodels(attribute: str) -> str | None:
    """Return what a name of statsmodels' results is here; None if it is none that is known."""
    ours = _BY_NAME.get(attribute)
    return None if ours is None else f"what statsmodels calls so is here {ours}"
