# Numbers of lme4's accessors, by which tests/diagnostics/test_equations.py, tests/test_lme4_names.py and
# tests/test_by_level.py check those of this package.
#   Rscript tests/reference/scripts/lme4_names.R > tests/reference/lme4_names.json
# Written by lme4 1.1-31 and lmerTest 3.1-3 of R 4.2; the data are those of lme4 and nlme in tests/data.
suppressMessages({library(lme4); library(jsonlite)})
file <- sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE))
folder <- file.path(dirname(normalizePath(file)), "..", "..", "data")
read <- function(name, factors) {
  d <- read.csv(file.path(folder, paste0(name, ".csv")))
  for (f in factors) d[[f]] <- factor(d[[f]])
  d
}
herds <- read("cbpp", c("herd", "period"))
sleep <- read("sleepstudy", "Subject")
pastes <- read("Pastes", c("batch", "cask"))
penicillin <- read("Penicillin", c("plate", "sample"))
machines <- read("Machines", c("Machine", "Worker"))
strict <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
gstrict <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e5), tolPwrss = 1e-12)
num <- function(x) unname(as.vector(as.matrix(x)))
parts <- function(m) {
  random <- ranef(m, condVar = TRUE)
  list(
    fixef = num(fixef(m)), theta = num(getME(m, "theta")), b = num(getME(m, "b")), u = num(getME(m, "u")),
    lower = ifelse(is.finite(getME(m, "lower")), 0, -1), Lind = getME(m, "Lind") - 1L,
    rowsums_Z = num(rowSums(getME(m, "Z"))), colsums_Z = num(colSums(as.matrix(getME(m, "Z")))),
    diagonal_Lambda = num(diag(as.matrix(getME(m, "Lambda")))), sum_Lambda = sum(getME(m, "Lambda")),
    RX = num(getME(m, "RX")), crossprod_RZX = num(crossprod(as.matrix(getME(m, "RZX")))),
    ldL2 = unname(getME(m, "devcomp")$cmp["ldL2"]), ldRX2 = unname(getME(m, "devcomp")$cmp["ldRX2"]),
    ussq = unname(getME(m, "devcomp")$cmp["ussq"]), wrss = unname(getME(m, "devcomp")$cmp["wrss"]),
    pwrss = unname(getME(m, "devcomp")$cmp["pwrss"]),
    sigma = sigma(m), logLik = as.numeric(logLik(m)), AIC = AIC(m), BIC = BIC(m), df_residual = df.residual(m),
    nobs = nobs(m), ngrps = as.list(ngrps(m)), Gp = getME(m, "Gp"), p_i = num(getME(m, "p_i")),
    l_i = num(getME(m, "l_i")), is_singular = isSingular(m), mu = num(getME(m, "mu"))[1:8],
    hatvalues = num(hatvalues(m))[1:8],
    ranef_sd = lapply(as.data.frame(random)["condsd"], num)[[1]],
    ranef = lapply(as.data.frame(random)["condval"], num)[[1]],
    ranef_grp = as.character(as.data.frame(random)$grp), ranef_term = as.character(as.data.frame(random)$term),
    ranef_grpvar = as.character(as.data.frame(random)$grpvar),
    varcorr = as.data.frame(VarCorr(m))[c("vcov", "sdcor")],
    vcov = num(vcov(m)), coef = lapply(coef(m), num), coef_names = lapply(coef(m), names)
  )
}
fits <- list(
  sleepstudy = lmer(Reaction ~ Days + (Days | Subject), sleep, control = strict),
  split = lmer(Reaction ~ Days + (1 | Subject) + (0 + Days | Subject), sleep, REML = FALSE, control = strict),
  pastes = lmer(strength ~ 1 + (1 | batch/cask), pastes, control = strict),
  penicillin = lmer(diameter ~ 1 + (1 | plate) + (1 | sample), penicillin, control = strict),
  machines = lmer(score ~ Machine + (Machine | Worker), machines, control = strict),
  cbpp = glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), herds, family = binomial,
               control = gstrict)
)
by_group <- function(m) {
  s <- summary(m)
  list(coef = num(coef(m)), se = num(s$coefficients[, "Std. Error", ]), sigma = sigma(m), names = names(coef(m)),
       levels = rownames(coef(m)))
}
lists <- list(
  sleepstudy = by_group(lmList(Reaction ~ Days | Subject, sleep)),
  sleepstudy_own = by_group(lmList(Reaction ~ Days | Subject, sleep, pool = FALSE)),
  machines = by_group(lmList(score ~ Machine | Worker, machines))
)
counts <- read("grouseticks", c("YEAR", "BROOD"))
poisson <- lmList(TICKS ~ YEAR | LOCATION, transform(counts, LOCATION = factor(LOCATION %/% 40)),
                  family = poisson)
lists$poisson <- list(coef = num(coef(poisson)), levels = rownames(coef(poisson)))
dev <- lmer(Reaction ~ Days + (Days | Subject), sleep, devFunOnly = TRUE)
devml <- lmer(Reaction ~ Days + (Days | Subject), sleep, devFunOnly = TRUE, REML = FALSE)
gdev <- update(fits$cbpp, devFunOnly = TRUE)
out <- list(
  fits = lapply(fits, parts), lists = lists,
  devfun = list(theta = c(0.9, 0.1, 0.3), reml = dev(c(0.9, 0.1, 0.3)), ml = devml(c(0.9, 0.1, 0.3)),
                point = c(0.6, -1.2, -0.9, -1.1, -1.5), laplace = gdev(c(0.6, -1.2, -0.9, -1.1, -1.5)))
)
cat(toJSON(out, digits = 10, auto_unbox = TRUE, null = "null"))
