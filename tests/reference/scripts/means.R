# usage, in the folder of the data sets: Rscript means.R > means.json
# Marginal means, slopes and contrasts by emmeans, of models and options that inference.json does not have. Oats2 is Oats with a number x, N = nitro as
# a factor, and rows left out; Oats3 has an empty cell; sleep2 is sleepstudy_ext with a 0/1 column and log-exposure; cbpp2 has a second factor.
suppressMessages({library(lme4); library(emmeans); library(jsonlite)}); emm_options(lmer.df = "satterthwaite")
rd <- function(n) { d <- read.csv(paste0(n, ".csv")); for (v in names(d)) if (is.character(d[[v]])) d[[v]] <- factor(d[[v]]); d }
o <- rd("Oats"); o$N <- factor(o$nitro); o$i <- seq_len(nrow(o)); o$x <- round(sin(o$i * 1.7) + o$nitro, 3)
o2 <- o[!(o$i %in% c(1:5, 20, 33, 40:44, 70)), ]; o3 <- o[!(o$Variety == "Victory" & o$N == "0.6"), ]
s <- rd("sleepstudy_ext"); s$Subject <- factor(s$Subject); s$two <- (s$Days > 4) * 1; s$t <- s$Days + 1
g <- rd("cbpp"); g$herd <- factor(g$herd); g$period <- factor(g$period); g$tr <- factor(rep(c("x", "y"), length = nrow(g)))
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10)); gtight <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9), tolPwrss = 1e-13)
fits <- list(
  "oats2-x"   = list("Oats2", "yield ~ Variety*x + N + (1|Block)", lmer(yield ~ Variety*x + N + (1|Block), o2, control = tight)),
  "oats2-int" = list("Oats2", "yield ~ Variety*N + (1|Block)", lmer(yield ~ Variety*N + (1|Block), o2, control = tight)),
  "oats2-fac" = list("Oats2", "yield ~ factor(nitro) + Variety + (1|Block)", lmer(yield ~ factor(nitro) + Variety + (1|Block), o2, control = tight)),
  "oats3"     = list("Oats3", "yield ~ Variety*N + (1|Block)", lmer(yield ~ Variety*N + (1|Block), o3, control = tight)),
  "oats2-log" = list("Oats2", "log(yield) ~ Variety + log(nitro + 1) + I(x^2) + (1|Block)", lmer(log(yield) ~ Variety + log(nitro + 1) + I(x^2) + (1|Block), o2, control = tight)),
  "sleep2"    = list("sleep2", "Reaction ~ phase + two + offset(log(t)) + (1|Subject)", lmer(Reaction ~ phase + two + offset(log(t)) + (1|Subject), s, control = tight)),
  "cbpp2"     = list("cbpp2", "cbind(incidence, size - incidence) ~ period + tr + (1|herd)", glmer(cbind(incidence, size - incidence) ~ period + tr + (1|herd), g, family = binomial, control = gtight)))
# the covariance from an accurate Hessian in (theta, beta); lme4's own, by differences of its deviance, is off by a percent
gm <- fits$cbpp2[[3]]; dv <- update(gm, devFunOnly = TRUE); at <- c(getME(gm, "theta"), fixef(gm)); H <- numDeriv::hessian(dv, at)
V <- 2 * solve(H)[-1, -1]; dimnames(V) <- dimnames(vcov(gm)); stopifnot(max(abs(numDeriv::grad(dv, at))) < 1e-3)
df <- function(e, ...) { d <- as.data.frame(summary(e, infer = c(TRUE, TRUE), ...)); d$df[is.infinite(d$df)] <- NA; for (v in names(d)) if (is.factor(d[[v]])) d[[v]] <- as.character(d[[v]]); as.list(d) }
G <- function(f, what, e, ...) list(fit = f, what = what, table = df(e, ...))
M <- function(f, ...) if (f == "cbpp2") emmeans(gm, ..., vcov. = V) else emmeans(fits[[f]][[3]], ...); q <- suppressMessages; iB <- list(x = c(0, 1), N = c("0", "0.2"))
out <- q(list(
  G("oats2-x", "means", M("oats2-x", ~Variety)), G("oats2-x", "means_proportional", M("oats2-x", ~Variety, weights = "proportional")),
  G("oats2-x", "means_at", M("oats2-x", ~Variety, at = iB)), G("oats2-x", "means_by_x", M("oats2-x", ~Variety | x, at = list(x = c(0, 1)))),
  G("oats2-x", "pairs_by_x", pairs(M("oats2-x", ~Variety | x, at = list(x = c(0, 1))))), G("oats2-x", "trends", emtrends(fits[["oats2-x"]][[3]], ~Variety, "x")),
  G("oats2-x", "trend_pairs", pairs(emtrends(fits[["oats2-x"]][[3]], ~Variety, "x"))),
  G("oats2-x", "poly", contrast(M("oats2-x", ~N), "poly")), G("oats2-x", "eff", contrast(M("oats2-x", ~N), "eff"), adjust = "fdr"),
  G("oats2-x", "control_none", contrast(M("oats2-x", ~N), "trt.vs.ctrl", ref = 2), adjust = "none"),
  G("oats2-x", "control_mvt", contrast(M("oats2-x", ~N), "trt.vs.ctrl", ref = 2), adjust = "mvt"),
  G("oats2-x", "consec_bonferroni", contrast(M("oats2-x", ~N), "consec"), adjust = "bonferroni"), G("oats2-x", "pairs_sidak", pairs(M("oats2-x", ~N)), adjust = "sidak"),
  G("oats2-x", "revpairwise_holm", contrast(M("oats2-x", ~N), "revpairwise"), adjust = "holm"),
  G("oats2-x", "custom", contrast(M("oats2-x", ~N), list(first = c(1, -1, 0, 0), rest = c(1, -1/3, -1/3, -1/3))), adjust = "none"),
  G("oats2-int", "means_averaged", M("oats2-int", ~N)), G("oats2-int", "means_proportional", M("oats2-int", ~N, weights = "proportional")),
  G("oats2-int", "pairs_of_cells", pairs(M("oats2-int", ~Variety * N))), G("oats2-int", "pairs_by", pairs(M("oats2-int", ~Variety | N))),
  G("oats2-int", "poly_by", contrast(M("oats2-int", ~N | Variety), "poly")),
  G("oats2-fac", "pairs_of_numbers", pairs(M("oats2-fac", ~nitro))), G("oats2-fac", "overall", M("oats2-fac", ~1)),
  G("oats3", "means", M("oats3", ~Variety)), G("oats3", "pairs", pairs(M("oats3", ~Variety))), G("oats3", "cells", M("oats3", ~Variety * N)), G("oats3", "pairs_by", pairs(M("oats3", ~N | Variety))),
  G("oats2-log", "means", M("oats2-log", ~Variety)), G("oats2-log", "response", M("oats2-log", ~Variety, type = "response")), G("oats2-log", "ratios", pairs(M("oats2-log", ~Variety, type = "response"))),
  G("sleep2", "means", M("sleep2", ~phase)), G("sleep2", "two", M("sleep2", ~two)), G("sleep2", "proportional", M("sleep2", ~phase, weights = "proportional")),
  G("cbpp2", "response", M("cbpp2", ~period, type = "response")), G("cbpp2", "proportional", M("cbpp2", ~period, type = "response", weights = "proportional")),
  G("cbpp2", "bias", M("cbpp2", ~period), type = "response", bias.adjust = TRUE, sigma = 0.65), G("cbpp2", "eff_ratios", contrast(M("cbpp2", ~period, type = "response"), "eff"), adjust = "none"),
  G("cbpp2", "ratios", pairs(M("cbpp2", ~period, type = "response")))))
joint <- q(list(list(fit = "oats2-int", table = as.list(joint_tests(M("oats2-int", ~Variety * N, lmer.df = "asymptotic")))), list(fit = "oats3", table = as.list(test(pairs(M("oats3", ~N | Variety, lmer.df = "asymptotic")), joint = TRUE)))))
cat(toJSON(list(versions = list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4")), emmeans = as.character(packageVersion("emmeans"))),
  fits = lapply(fits, function(f) list(data = f[[1]], formula = f[[2]], fixef = unname(fixef(f[[3]])))), tables = out, joint = joint), digits = I(12), auto_unbox = TRUE, na = "null", dataframe = "columns"), "\n")
