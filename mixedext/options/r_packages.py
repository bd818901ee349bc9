"""Functions of R's packages around lme4 by name, and what each is here: rows of the table of `lme4_names`.

`result`, `model`, `means` and `mx` are what they are there.
"""

from __future__ import annotations

_SIMULATED = "result.quantile_residuals()"
_TABLE_OF_MODELS = "mx.model_table({'a': result})"
_IN_WORD = "to_latex(), and to_html() in a file whose name ends in .html, which Word opens; docs/tables.md"
_GRID = "result.get_prediction(data); result.plot_predictions(x, by=)"
_CORRELATED = "structures of the residuals are not offered"
_BY_CLUSTER = 'result.get_robustcov_results("cluster")'
_IMPUTED = "docs/imputation.md"

#: Package → R's names, what they are here, and what there is to say of it.
PACKAGES = {
    "performance": (
        ("check_model", "result.plot_diagnostics()", "result.diagnose() has the findings in words"),
        (
            "check_overdispersion",
            'result.diagnose(["overdispersion"])',
            f"{_SIMULATED}.test_dispersion() is by simulation",
        ),
        ("check_zeroinflation", f'{_SIMULATED}.test_zero_inflation(); result.diagnose(["zero inflation"])'),
        ("check_collinearity", "result.vif()"),
        ("check_singularity", "result.is_singular; result.repca()"),
        ("check_convergence", 'result.diagnose(["convergence", "gradient", "hessian"])'),
        (
            "check_heteroscedasticity check_heteroskedasticity",
            'result.diagnose(["heteroscedasticity"]); result.plot_residuals("scale_location")',
        ),
        ("check_normality", 'result.plot_qq(); result.diagnose(["residuals", "modes"])'),
        ("check_outliers", "result.get_influence(by=); result.plot_influence(by=)"),
        ("check_predictions check_residuals", f"{_SIMULATED}.plot()"),
        ("r2 r2_nakagawa", "mx.r2(result)"),
        ("icc", "mx.icc(result)"),
        ("get_variance", "mx.variance_parts(result)"),
        ("model_performance", "result.glance()"),
        ("compare_performance test_performance", "mx.compare(a=result, b=result)"),
        ("test_likelihoodratio test_lrt", "mx.anova(smaller, result)"),
    ),
    "DHARMa": (
        (
            "simulateResiduals createDHARMa recalculateResiduals",
            _SIMULATED,
            "plot() and tests are its methods",
        ),
        ("testUniformity testResiduals", f"{_SIMULATED}.test_uniformity()"),
        ("testDispersion testOverdispersion", f"{_SIMULATED}.test_dispersion()"),
        ("testZeroInflation", f"{_SIMULATED}.test_zero_inflation()"),
        ("testOutliers", f"{_SIMULATED}.test_outliers()"),
        ("testGeneric", f"{_SIMULATED}.test_generic(summary)"),
        ("testCategorical", f"{_SIMULATED}.test_by_group(groups)"),
        ("testTemporalAutocorrelation", f"{_SIMULATED}.test_temporal_autocorrelation(time, groups)"),
        ("testSpatialAutocorrelation", f"{_SIMULATED}.test_spatial_autocorrelation(x, y)"),
        ("plotQQunif plotSimulatedResiduals", f"{_SIMULATED}.plot()"),
        ("plotResiduals", "result.plot_residuals()"),
    ),
    "broom.mixed": (
        ("tidy", 'result.tidy("fixed", conf_int=True)', "exponentiate=True for odds and rate ratios"),
        ("glance", "result.glance()"),
        ("augment", "result.augment()"),
    ),
    "parameters": (
        ("model_parameters standard_error", "result.coef_table(); result.confint()"),
        ("standardize_parameters", "mx.standardize(result)"),
    ),
    "pbkrtest": (
        (
            "KRmodcomp vcovAdj get_Lb_ddf",
            'mx.anova(result, ddf="kenward-roger"); result.f_test(L, ddf="kenward-roger")',
        ),
        ("SATmodcomp", "mx.anova(result); result.f_test(L)"),
        ("PBmodcomp PBrefdist", "mx.bootstrap_lrt(smaller, result)"),
    ),
    "RLRsim": (
        ("exactRLRT", "mx.exact_rlrt(result)"),
        ("exactLRT", "mx.exact_lrt"),
    ),
    "car": (
        ("Anova", "mx.anova(result, type=2)", 'its χ² tests are ddf="infinite"'),
        ("vif", "result.vif()"),
        ("linearHypothesis lht", "result.f_test(L); result.wald_test(L)"),
        ("deltaMethod", "result.bootstrap(nsim, statistic=)", "a function of the results"),
    ),
    "multcomp": (
        ("glht", 'means.contrasts("pairwise", adjust="mvt"); result.t_test(L)'),
        ("cld", 'means.contrasts("pairwise")', "letters of groups are not offered"),
    ),
    "MuMIn": (
        ("r.squaredGLMM", "mx.r2(result)"),
        ("AICc model.sel dredge", "mx.compare(a=result, b=result)", "of models that you write down"),
        ("model.avg", "", "models are not averaged: mx.compare has Akaike's weights"),
    ),
    "simr": (
        (
            "powerSim doTest doSim",
            'mx.power(result, "x", nsim=1000)',
            "fixef(m)['x'] <- 0.2 is effect={'x': 0.2}",
        ),
        ("powerCurve extend", 'mx.power(result, "x", along="g", n=[20, 40])'),
        ("makeLmer makeGlmer", 'mx.power("y ~ x + (1 | g)", "x", data=, beta=, varcorr=, sigma=)'),
    ),
    "influence.ME": (
        ("pchange sigtest se.fixef", "result.get_influence(by=).summary_frame()"),
        ("exclude.influence", "result.update(subset=\"g != 'a'\")", "it is fitted already"),
    ),
    "merTools": (
        ("predictInterval", 'result.get_prediction(data, random_effects="all").summary_frame()'),
        ("REsim REextract plotREsim", "mx.ranef(result).frame(); result.plot_random_effects()"),
    ),
    "lattice": (
        ("dotplot", "result.plot_random_effects()"),
        ("xyplot", "result.profile().plot(); result.plot_groups(x)"),
        ("splom densityplot", "result.profile().plot_pairs()"),
    ),
    "sjPlot": (
        ("tab_model", _TABLE_OF_MODELS, _IN_WORD),
        ("plot_model plot_models", "mx.plot_coefficients([result]); result.plot_predictions(x, by=)"),
    ),
    "modelsummary": (
        ("modelsummary", _TABLE_OF_MODELS, _IN_WORD),
        ("modelplot", "mx.plot_coefficients([result])"),
    ),
    "texreg": (("texreg htmlreg wordreg screenreg tbl_regression", _TABLE_OF_MODELS, _IN_WORD),),
    "report": (
        (
            "report",
            "",
            "no sentences are written; docs/tutorials/multilevel.md reports a model, and "
            "mx.model_table makes the table",
        ),
    ),
    "ggeffects": (("ggpredict ggeffect ggemmeans predict_response", _GRID),),
    "effects": (("allEffects Effect predictorEffects visreg", _GRID),),
    "nlme": (
        ("lme", "mx.lmer(formula, data).fit()", "random = ~ x | g is (x | g) in the formula"),
        ("fixed.effects fixef.lme", "result.params"),
        ("random.effects", "result.random_effects"),
        ("intervals", "result.confint()"),
        ("ACF", f"{_SIMULATED}.test_temporal_autocorrelation(time, groups)"),
        ("corAR1 corCompSymm varIdent varPower", "", _CORRELATED),
    ),
    "glmmTMB": (("glmmTMB", "mx.glmer(formula, data, family=).fit()"),),
    "clubSandwich": (("vcovCR coef_test Wald_test", _BY_CLUSTER),),
    "afex": (("mixed", "mx.anova(result)", 'ddf="kenward-roger"; contrasts={"f": "Sum"} of mx.lmer'),),
    "mice": (
        ("mice", "mx.impute(data, {'x': 'y + (1 | g)'})", _IMPUTED),
        ("pool testEstimates", "mx.pool(imputed.fit(formula))", _IMPUTED),
    ),
}
