"""The functions of lme4, lmerTest, emmeans and packages around them by name, and what each is here.

One table for three readers: errors of attributes that results do not have, the guide docs/from_lme4.md, and
the tests, which look up every name of this package that stands in it. `result` are results of a fit, `model`
is a model, `means` what `emmeans` returns, `mx` the package.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixedext.options.r_packages import PACKAGES


@dataclass(frozen=True)
class Twin:
    """What a function of another package is here.

    Attributes
    ----------
    package : str
    name : str
        R's.
    ours : str
        Code, several ways parted by semicolons; empty where there is none.
    note : str
        What else there is to say, or what to do instead.
    """

    package: str
    name: str
    ours: str
    note: str = ""

    def sentence(self) -> str:
        """Return what the function is here, in words."""
        ways = " or ".join(self.ours.split("; "))
        whose = f"R's {self.name}" if self.name == self.package else f"{self.name} of {self.package}"
        if not ways:
            return f"{whose}: {self.note}"
        return f"{whose} is {ways}" + (f" ({self.note})" if self.note else "")


_STEPS = "mx.design(formula, data), mx.problem and mx.fit are the steps of a fit"
_INSIDE = f"an inner part of lme4: {_STEPS}"
_ONE = "one method finds the optimum: fit(tol=, maxiter=, start_theta=)"
_NONLINEAR = "nonlinear mixed models are not fitted here"
_FORMULA = "model.formula_parts"
_CONVERT = "a matrix and its correlations are NumPy's: result.cov_re has covariances"
_IN_DATA = "make the factor or column in the data"

#: Package → R's name, what it is here, and what there is to say of it; names with one answer stand together.
_TABLE = {
    "lme4": (
        ("lmer", "mx.lmer(formula, data).fit()", "fit(reml=False) is REML=FALSE"),
        ("glmer", "mx.glmer(formula, data, family=).fit()", "fit(nagq=9) is nAGQ=9"),
        ("glmer.nb", "mx.glmer_nb(formula, data).fit()", "lme4's theta is 1 / result.dispersion"),
        ("lmList", 'mx.lmList("y ~ x | g", data)'),
        ("nlmer nlmerControl nlformula isNLMM", "", _NONLINEAR),
        ("lmerControl glmerControl golden Nelder_Mead NelderMead nlminbwrap nloptwrap", "", _ONE),
        ("fixef", "result.params; mx.fixef(result)"),
        ("ranef", "result.random_effects; mx.ranef(result)", "condVar: result.random_effects_cov"),
        ("coef", "result.coef(); mx.coef(result)"),
        ("VarCorr", "result.varcorr; mx.VarCorr(result)", "matrices: result.cov_re"),
        ("sigma", "result.sigma; mx.sigma(result)"),
        ("getME", 'result.getME("Z"); mx.getME(result, "Z")'),
        ("getL", 'result.getME("L")'),
        ("devcomp", 'result.getME("devcomp")'),
        ("fitted", "result.fittedvalues"),
        (
            "residuals resid",
            "result.residuals(kind); mx.resid(result, type)",
            "and from the means of any level of the hierarchy, level=",
        ),
        ("rstudent", "result.resid_studentized"),
        (
            "predict",
            'result.predict(data, random_effects="all")',
            'without random_effects= it is re.form=NA; which="linear" is type="link"; random_effects='
            '"~ (1 | g)" is re.form=~(1|g)',
        ),
        (
            "simulate",
            "result.simulate(nsim, rng=)",
            'random_effects="conditional" is re.form=NULL, a list of terms keeps these',
        ),
        (
            "simulate.formula mkParsTemplate mkDataTemplate",
            "mx.simulate(formula, data, beta=, varcorr=, sigma=)",
        ),
        ("refit", "result.refit(y); mx.refit(result, y)", "many responses: result.refit_many(Y)"),
        ("refitML", "result.by_maximum_likelihood()"),
        ("update", 'result.update(". ~ . + x"); mx.update(result, ". ~ . + x")'),
        ("drop1", "mx.drop1(result)"),
        ("anova", "mx.anova(result, smaller)", "one model: mx.anova(result)"),
        ("confint", "result.confint(); mx.confint(result)", 'method="profile", "wald" or "bootstrap"'),
        ("profile logProf varianceProf", "result.profile()"),
        ("bootMer", "result.bootstrap(nsim, statistic=)"),
        ("isSingular", "result.is_singular; mx.isSingular(result)"),
        ("rePCA", "result.repca(); mx.rePCA(result)"),
        ("allFit", "mx.allfit(model); mx.allFit(model)"),
        ("checkConv", "result.diagnose()", "result.converged says whether the optimiser arrived"),
        ("influence", "result.get_influence(by=); mx.influence(result, groups)"),
        ("hatvalues", "mx.hatvalues(result)"),
        ("cooks.distance", "result.get_influence().cooks_distance[0]"),
        ("dfbeta dfbetas", "result.get_influence(by=).dfbetas"),
        ("logLik", "result.llf; mx.logLik(result)"),
        ("deviance", "result.deviance"),
        ("AIC", "result.aic"),
        ("BIC", "result.bic"),
        ("extractAIC", "result.aic; result.n_params"),
        ("llikAIC", "result.glance()"),
        ("df.residual", "result.df_resid"),
        ("REMLcrit", "result.objective; mx.REMLcrit(result)"),
        ("nobs", "result.nobs"),
        ("ngrps", "result.ngroups; mx.ngrps(result)"),
        ("formula", "result.model.mixed_formula"),
        ("terms", "result.labels.fixed_terms", "term → its columns"),
        ("model.frame getData", "result.model.data.frame; mx.model_frame(result)"),
        ("model.matrix", 'result.model.exog; result.getME("Z")'),
        ("family", "result.family", "of generalized models"),
        ("weights", "result.model.weights"),
        ("offset", "result.model.offset"),
        ("vcov", "result.cov_params(); mx.vcov(result)"),
        ("summary", "result.summary()"),
        ("plot", "result.plot_residuals(); result.plot_diagnostics()"),
        ("dotplot.ranef.mer", "result.plot_random_effects()"),
        ("qqmath", "result.plot_qq()"),
        ("fortify.merMod", "result.augment()"),
        ("isLMM isGLMM", "result.fitted.is_linear"),
        ("isREML", 'result.getME("is_REML")'),
        ("isNested", "", "a factor is nested where data.groupby(inner)[outer].nunique() is 1"),
        ("dummy", "", 'a column for one level is I(f == "a") in the formula'),
        ("lFormula glFormula", "mx.design(formula, data)"),
        ("mkLmerDevfun mkGlmerDevfun updateGlmerDevfun devfun2 as.function devfun", "mx.devfun(model)"),
        ("optimizeLmer optimizeGlmer", "mx.fit(mx.problem(mx.design(formula, data)))"),
        ("mkMerMod", "mx.LinearMixedResults(mx.fit(mx.problem(mx.design(formula, data))))"),
        ("findbars", "model.formula_parts.random"),
        ("nobars", "model.formula"),
        ("subbars expandDoubleVerts factorize", _FORMULA),
        ("GHrule GQdk GQN", "", "nodes are numpy.polynomial.hermite_e.hermegauss(n)"),
        ("negative.binomial", 'mx.glmer(formula, data, family="negative_binomial")'),
        (
            "sdcor2cov cov2sdcor Cv_to_Sv Cv_to_Vv Sv_to_Cv Vv_to_Cv mlist2vec vec2mlist vec2STlist",
            "",
            _CONVERT,
        ),
        (
            "lmResp lmerResp glmResp nlsResp merPredD rePos glmFamily glmerLaplaceHandle mkRespMod mkReTrms "
            "mkNewReTrms mkVarCorr methTitle",
            "",
            _INSIDE,
        ),
        (
            "sleepstudy cbpp Dyestuff Dyestuff2 InstEval Pastes Penicillin VerbAgg grouseticks",
            "mx.datasets.load(name)",
        ),
    ),
    "lmerTest": (
        ("as_lmerModLmerTest", "mx.lmer(formula, data).fit()", "Satterthwaite's tests need no other class"),
        ("contest contestMD", "result.f_test(L); result.wald_test(L)", "ddf= chooses degrees of freedom"),
        ("contest1D", "result.t_test(L)"),
        ("calcSatterth", 'result.ddf_method("satterthwaite")'),
        ("ls_means lsmeansLT", 'mx.emmeans(result, "f")'),
        ("difflsmeans", 'mx.emmeans(result, "f").contrasts("pairwise")'),
        ("ranova rand", "mx.ranova(result)"),
        (
            "step get_model",
            "",
            "models are not chosen backwards by tests: mx.drop1, mx.ranova and mx.compare show what can go, "
            "result.update leaves it out",
        ),
        ("show_tests", "mx.anova(result, type=3)", "docs/inference.md says what the hypotheses are"),
    ),
    "emmeans": (
        ("emmeans lsmeans lsm emm emmobj lsmobj", 'mx.emmeans(result, "f")'),
        ("emtrends lstrends", 'mx.emtrends(result, "f", var="x")'),
        (
            "contrast",
            "means.contrasts(method)",
            'a family by name, or weights of the means; by="g" within levels; interaction="pairwise"',
        ),
        ("pairs", 'means.contrasts("pairwise")'),
        (
            "eff_size",
            "means.contrasts()",
            "divide by result.sigma; mx.standardize has standardized coefficients",
        ),
        ("joint_tests mvcontrast", "means.joint_tests()"),
        ("test", "means.test(null=0)"),
        ("summary.emmGrid confint.emmGrid as.data.frame.emmGrid", "means.table"),
        (
            "ref_grid",
            "mx.emmeans(result, factors, at=, cov_reduce=)",
            "the grid is averaged to what specs names",
        ),
        ("regrid", 'mx.emmeans(result, "f", type="response")'),
        ("emmip plot.emmGrid", "result.plot_predictions(x, by=)"),
        ("pwpp pwpm", 'means.contrasts("pairwise")'),
        ("as.glht", 'means.contrasts("pairwise", adjust="mvt")'),
        ("linfct", "means.linfct"),
        (
            "make.tran inverse auto.noise",
            "",
            "transform in the formula, log(y) ~ x, or take a family with a link",
        ),
        ("emm_options emm_defaults get_emm_option lsm.options", "", "options are arguments of mx.emmeans"),
        ("qdrg emm_basis recover_data", "", "means are of results of this package"),
        (
            "add_grouping comb_facs split_fac permute_levels force_regular ubds meanint symmint",
            "",
            _IN_DATA,
        ),
        ("hpd.summary as.mcmc.emmGrid", "", "models are not fitted by sampling here"),
    ),
}


def _twins() -> dict[str, Twin]:
    out: dict[str, Twin] = {}
    for package, rows in (_TABLE | PACKAGES).items():
        for names, ours, *note in rows:
            for name in names.split():
                out.setdefault(name, Twin(package, name, ours, *note))
    return out


#: R's name → what it is here.
TWINS = _twins()
_EXACT = {name.replace(".", "_"): twin for name, twin in TWINS.items()}


def _otherwise() -> dict[str, Twin]:
    """Return twins by other ways of writing: all in lower case, and what stands before a dot of R.

    Python reads ``mx.cooks.distance`` as the attribute ``distance`` of ``mx.cooks``.
    """
    out: dict[str, Twin] = {}
    for name, twin in _EXACT.items():
        out.setdefault(name.lower(), twin)
    for name, twin in TWINS.items():
        first, dot, _ = name.partition(".")
        if dot and len(first) > 2:
            out.setdefault(first.lower(), twin)
    return out


_OTHERWISE = _otherwise()


def sentence_for(attribute: str, exact: bool = False) -> str | None:
    """Return what a name of R, dots written as underscores, is here; None if it is none that is known.

    Parameters
    ----------
    attribute : str
    exact : bool
        Whether the name must be R's in the same letters, as other packages have names that differ in case.
    """
    twin = _EXACT.get(attribute)
    if twin is None and not exact:
        twin = _OTHERWISE.get(attribute.lower())
    return None if twin is None else twin.sentence()
