"""Keywords of other packages, and what to write here."""

from __future__ import annotations

_RANDOM = (
    "random effects stand in the formula, (1 + x | g); statsmodels' arguments are those of mixedext.mixedlm"
)


_ML = "generalized models are fitted by maximum likelihood, there is no REML"


_NODES = "fit(nagq=9) takes the number of quadrature nodes"


_EXACT = "the likelihood of a linear model is exact and needs no quadrature"


_NO = "is not offered"


_SILENT = "nothing is printed, leave it out; the evaluations are in optimizer.trace of the results"


_REPEAT = "rows that stand for n rows each are repeated, data.loc[data.index.repeat(n)]"


#: Keywords of other packages, a keyword of ours by which the function is known, the remedy; the first row
#: counts. ``subset`` is one of ``from_formula``, ``maxiter`` of ``fit``, ``terms`` of models of arrays.
REMEDIES = (
    ("group", "use_sqrt", "write groups="),
    ("random", "use_sqrt", "random effects are re_formula= and vc_formula=, or terms of mixedext.lmer"),
    (
        "weights freq_weights var_weights offset exposure family",
        "use_sqrt",
        "it belongs to mixedext.lmer and glmer, whose formula for this model is model.mixed_formula",
    ),
    ("groups group re_formula vc_formula random", "subset", _RANDOM),
    (
        "freq_weights var_weights n_trials",
        "family",
        "weights= multiply the log-likelihood of a row of a binomial or Poisson response, trials of a "
        f"proportion too, and are precisions of others; {_REPEAT}",
    ),
    ("freq_weights var_weights", "subset", f"weights= are precisions; {_REPEAT}"),
    ("hasconst", "subset", "a formula has an intercept, and 0 + x has none"),
    ("cov_type cov_kwds", "subset", "fit(cov_type='cluster', cov_kwds={'groups': ...}) takes it"),
    (
        "groups group exog_re exog_vc random",
        "allow_saturated",
        "random effects are terms=, see mixedext.RandomTerm",
    ),
    ("family", "maxiter", "it belongs to the model, glmer(formula, data, family=...)"),
    ("family", "subset", "generalized models are glmer(formula, data, family=...)"),
    ("reml", "nagq", _ML),
    ("reml", "family", _ML),
    ("reml", "subset", "write fit(reml=False)"),
    ("reml method", "refit", "fit(reml=False) fits by maximum likelihood; refit=False keeps REML"),
    ("nagq", "family", _NODES),
    ("nagq", "reml", _EXACT),
    ("nagq", "subset", f"{_EXACT}; of a generalized one {_NODES}"),
    ("method", "reml", "reml=True or False chooses the criterion; one method finds its optimum"),
    ("method", "nagq", "nagq= chooses the approximation; one method finds its optimum"),
    ("method", "family", _NODES),
    ("method", "subset", "write fit(reml=True) or fit(reml=False)"),
    ("start start_params theta", "start_theta", "write start_theta="),
    ("start start_params start_theta", "subset", "starting values are for fit(start_theta=...)"),
    ("control optimizer lmerControl max_fun ftol gtol", "maxiter", "write tol= and maxiter="),
    ("control optimizer lmerControl glmerControl tol maxiter", "subset", "fit() takes tol= and maxiter="),
    ("verbose disp full_output progress retall callback", "maxiter", _SILENT),
    ("verbose disp", "subset", _SILENT),
    ("groups group", "cov_kwds", "clusters are cov_type='cluster', cov_kwds={'groups': ...}"),
    ("use_t", "cov_kwds", "z tests are ddf='infinite' of summary, coef_table, conf_int, t_test"),
    ("scale", "cov_kwds", "over-dispersion belongs to the family, or is a random intercept for each row"),
    (
        "re.form use.u",
        "nsim",
        "random_effects='conditional' keeps those of the fit (re.form=NULL), 'new' draws (re.form=NA), a "
        "list of terms keeps these",
    ),
    ("newdata data", "nsim", "responses are drawn for the rows of the fit; new rows have predict(data=...)"),
    (
        "re.form random.only re_terms which_re ReForm",
        "random_effects",
        "random_effects='none' is re.form=NA and 'all' re.form=NULL; or name grouping factors or terms",
    ),
    (
        "re_formula",
        "random_effects",
        "random_effects='none', 'all' or a list of grouping factors chooses them",
    ),
    (
        "se_fit se interval std_errors return_se",
        "new_levels",
        "standard errors and intervals are those of get_prediction().summary_frame()",
    ),
    ("exponentiate exp transform", "cov_reduce", "write type='response'"),
    (
        "exponentiate exp eform or odds_ratio",
        "ddf",
        "odds and rate ratios are tidy('fixed', conf_int=True, exponentiate=True) of the results",
    ),
    (
        "yname xname title slim",
        "alpha",
        "names are those of the data; model_table(results, labels={name: text}) gives others",
    ),
    ("nobs nobs1 sample_size ngroups", "along", "write n=, a number or several, and along= the factor"),
    ("power", "along", "it is computed for each of n=[...]: look where it passes what you want"),
    ("effect_size", "along", "write effect={name: coefficient}"),
    ("infer", "cov_reduce", "intervals are in the table, tests are .test() of it"),
    ("cov_struct", "subset", f"a structure of the residuals {_NO}; us() and diag() stand in the formula"),
    ("use_t use_f", "ddf", "normal and chi-squared tests are ddf='infinite'"),
    ("exposure", "subset", "exposure is of counts, glmer(formula, data, family='poisson', exposure=...)"),
    ("type", "which", "write which='mean' or which='linear'"),
    ("linear", "which", "write which='linear'"),
    ("type which", "new_levels", "predictions of a linear model have one scale"),
    ("newparams", "varcorr", "write beta=, varcorr= and sigma="),
    ("fixef coef coefficients", "effect", "effect={'x': 0.5} changes estimates, beta= is of a planned study"),
    (
        "method contrast type",
        "ref",
        "the kind comes first, contrasts('pairwise'); to adjust, write adjust='holm'",
    ),
    ("correlation corr print_corr", "ddf", "tables without correlations are coef_table() and varcorr"),
    ("y newresp response", "endog", "write endog="),
    ("groups group cluster", "by", "write by=, a column or values by row"),
    ("FUN fun func function", "statistic", "write statistic=, a function of the results"),
    ("nsim resample rng n_jobs progress groups kind", "method", "such options are for method='bootstrap'"),
    ("test", "refit", "tests are chosen by ddf=, those of drop1 by test="),
    (
        "allow_new_levels sample_new_levels",
        "new_levels",
        "new_levels='population' takes 0 for the random effects of levels that the fit has not seen",
    ),
    ("newdata x new_x params transform", "data", "new rows are data=, a frame of the formula's columns"),
    ("na_action na.rm", "missing", "missing values are for missing='drop' or missing='raise'"),
    ("ziformula zi hu", "subset", f"zero inflation {_NO}"),
    ("dispformula dispersion sigma", "subset", f"a model of the dispersion {_NO}"),
    ("correlation corStruct residual variance", "subset", f"a structure of the residuals {_NO}"),
    ("relationship", "subset", f"a relationship matrix {_NO}"),
    ("prior priors", "subset", f"a prior {_NO}"),
    (
        "link",
        "family",
        "the link belongs to the family, Binomial(link=sm.families.links.Probit())",
    ),
    ("alpha level", "data", "intervals of predictions are those of get_prediction().conf_int()"),
    (
        "alpha level",
        "subset",
        "the width of intervals is chosen where they are asked for, confint(level=...)",
    ),
    ("names model_names column_names", "below", "name the models by a mapping, {'name': result}"),
    ("conf_level confidence_level conf_int ci conf prob", "level", "write level=0.95"),
    ("conf_level confidence_level ci conf prob", "alpha", "write level=0.95"),
    ("nsims n_simulations nrep niter B R reps n_boot n size n_resamples", "nsim", "write nsim="),
    ("n n_imputations imputations n_imp nimp", "on_error", "write m=, the number of data sets"),
    ("maxit n_iter niter n_iterations", "on_error", "write iterations="),
    ("seed random_state rs", "rng", "write rng=, a seed or a numpy Generator"),
    ("ncpus parallel cl workers n_workers n_cores cores", "n_jobs", "write n_jobs="),
    (
        "df ddf_method lmer.df mode dof",
        "ddf",
        "degrees of freedom are ddf='satterthwaite', 'kenward-roger', 'residual' or 'infinite'",
    ),
    ("typ types ss test.type", "type", "write type=1, 2 or 3"),
    ("adjustment p_adjust adj padj correction method", "adjust", "write adjust="),
    ("adjust adjustment p_adjust", "cov_reduce", "adjusted are .contrasts('pairwise', adjust='holm')"),
    ("alpha level conf_level", "adjust", "the level of intervals is chosen before, emmeans(level=...)"),
    ("parms param which pars", "parm", "write parm="),
    ("cluster clusters vcov", "cov_type", "write cov_type='cluster' and cov_kwds={'groups': ...}"),
    ("weights offset subset missing formula data", "maxiter", "it is given with the formula, before fit()"),
)
