"""Names of statsmodels that are others here: of its results, of its models and functions.

Tables for three readers: errors of attributes, the guide docs/from_statsmodels.md, and the tests.
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
    ("k_fe", "len(result.params)"),
    ("k_re k_re2 k_vc", "result.theta, a number for each parameter of the random effects"),
    ("params_object", "result.params and result.theta"),
    ("hist fit_history mle_retvals mle_settings", "result.optimizer"),
    ("covjac covjhj score_obsv", 'result.get_robustcov_results("cluster")'),
    ("bsejac bsejhj", 'result.get_robustcov_results("cluster").bse'),
    ("bic_llf", "result.bic"),
    ("llf_scaled", "result.llf"),
    ("resid_anscombe resid_anscombe_scaled resid_anscombe_unscaled", "result.resid_deviance"),
    ("get_distribution", "result.simulate(nsim, rng=1), draws of it"),
    ("el_test conf_int_el", 'result.confint(method="profile") and mx.anova(smaller, result)'),
    ("resid_generalized", "result.resid_response"),
)

_TEST = "without random effects it is statsmodels' own, with them"
_MEANS = 'mx.emmeans(result, "f").contrasts("pairwise"), adjust="holm" or another'

#: Names of statsmodels' packages ``api`` and ``formula.api``, of its statistics and graphics; what each is
#: here.
FUNCTIONS_ELSEWHERE = (
    ("ols OLS wls WLS gls GLS", f'{_TEST} mx.lmer("y ~ x + (1 | g)", data).fit()'),
    (
        "glm GLM logit Logit probit Probit",
        f'{_TEST} mx.glmer("y ~ x + (1 | g)", data, family="binomial").fit()',
    ),
    ("poisson Poisson", f'{_TEST} mx.glmer("y ~ x + (1 | g)", data, family="poisson").fit()'),
    ("negativebinomial NegativeBinomial", f'{_TEST} mx.glmer_nb("y ~ x + (1 | g)", data).fit()'),
    (
        "BinomialBayesMixedGLM PoissonBayesMixedGLM",
        'mx.glmer("y ~ x + (1 | g)", data, family="binomial").fit(), by likelihood',
    ),
    (
        "gee GEE",
        "statsmodels' own; means over the groups of a mixed model are those of "
        'mx.for_marginaleffects(result, which="marginal")',
    ),
    ("anova_lm", "mx.anova(result)"),
    ("AnovaRM", 'mx.anova(mx.lmer("y ~ a * b + (1 | subject)", data).fit())'),
    ("pairwise_tukeyhsd MultiComparison tukeyhsd multipletests", _MEANS),
    ("TTestPower TTestIndPower FTestAnovaPower NormalIndPower tt_ind_solve_power", "mx.power(result, test)"),
    ("MICE MICEData", 'mx.impute(data, {"x": "y + (1 | g)"})'),
    ("add_constant", 'mx.lmer("y ~ x + (1 | g)", data), whose formula has an intercept'),
    ("dmatrix dmatrices", "mx.design(formula, data)"),
    ("variance_inflation_factor", "result.vif()"),
    ("OLSInfluence GLMInfluence MLEInfluence", "result.get_influence()"),
    ("influence_plot plot_leverage_resid2", "result.plot_influence()"),
    ("qqplot ProbPlot", "result.plot_qq()"),
    ("plot_fit plot_partregress plot_regress_exog plot_ccpr", 'result.plot_predictions("x")'),
    ("het_breuschpagan het_white het_goldfeldquandt", 'result.diagnose(["heteroscedasticity"])'),
    ("jarque_bera omni_normtest lilliefors normal_ad", 'result.diagnose(["residuals"])'),
    ("durbin_watson", "result.quantile_residuals().test_temporal_autocorrelation(time)"),
)

_TO_WORD = (
    "word processors open HTML, Path('table.html').write_text(mx.model_table(result).to_html()); "
    "spreadsheets take a data frame, mx.model_table(result).frame.to_excel(file)"
)

#: Names that neither package has, and that are looked for.
SOUGHT = (
    (
        "odds_ratios odds_ratio rate_ratios incidence_rate_ratios irr",
        'result.tidy("fixed", conf_int=True, exponentiate=True)',
    ),
    ("to_docx to_word to_rtf to_excel to_csv", _TO_WORD),
    ("plot_predict plot_effects", 'result.plot_predictions("x")'),
    ("params_table coefficients coefs summary_table", "result.coef_table()"),
    ("fit", "result.model.fit(); results are those of a fit, also what result.update() returns"),
)

_BY_NAME = {name: ours for names, ours in NAMES_ELSEWHERE for name in names.split()}
_SOUGHT = {name: ours for names, ours in SOUGHT for name in names.split()}
_FUNCTIONS = {name: ours for names, ours in FUNCTIONS_ELSEWHERE for name in names.split()}


def sentence_of_function(name: str) -> str | None:
    """Return what a function or model of statsmodels is here; None if it is none that is known."""
    ours = _FUNCTIONS.get(name)
    return None if ours is None else f"for what statsmodels calls so: {ours}"


def sentence_of_statsmodels(attribute: str) -> str | None:
    """Return what a name of statsmodels' results is here; None if it is none that is known."""
    if attribute in _SOUGHT:
        return _SOUGHT[attribute]
    ours = _BY_NAME.get(attribute)
    return sentence_of_function(attribute) if ours is None else f"what statsmodels calls so is here {ours}"
