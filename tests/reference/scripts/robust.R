# usage, in the folder of the data sets: Rscript robust.R > robust.json
# Cluster sandwich covariances of the fixed effects by clubSandwich 0.5.8, with Satterthwaite's degrees of freedom and Hotelling's T2 (HTZ) for all
# coefficients but the first; imm10 is not in the repository. sleep: `fifth` = number of the subject modulo 5, `one` marks subject 308, `early` = Days below
# 2 + number of the subject modulo 7 (unbalanced).
suppressMessages({library(lme4); library(clubSandwich); library(jsonlite)})
rd <- function(n, f) { d <- read.csv(paste0(n, ".csv")); for (v in f) d[[v]] <- factor(d[[v]]); d }
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
i <- rd("imm10", "schid"); m <- rd("Machines_unbal", c("Worker", "Machine"))
s <- rd("sleepstudy", "Subject"); k <- as.integer(s$Subject); s$fifth <- factor(k %% 5); s$one <- (s$Subject == "308") * 1
early <- s[s$Days < 2 + k %% 7, ]
jobs <- list(
  list("imm10", "imm10", "math ~ homework + ses + white + public + (homework|schid)", i, "schid"),
  list("machines", "Machines_unbal", "score ~ Machine + (1|Worker) + (1|Worker:Machine)", m, "Worker"),
  list("sleep", "sleepstudy", "Reaction ~ Days + (Days|Subject)", s, "Subject"),
  list("sleep-fifth", "sleepstudy", "Reaction ~ Days + (Days|Subject)", s, "fifth"),
  list("sleep-one", "sleepstudy", "Reaction ~ Days + one + (1|Subject)", s, "Subject"),
  list("sleep-early", "sleepstudy", "Reaction ~ Days + (Days|Subject)", early, "Subject"))
out <- list()
for (j in jobs) for (type in c("CR0", "CR2")) {
  fit <- lmer(as.formula(j[[3]]), j[[4]], control = tight)
  v <- vcovCR(fit, type = type, cluster = j[[4]][[j[[5]]]])
  df <- coef_test(fit, vcov = v, test = "Satterthwaite")$df_Satt
  w <- Wald_test(fit, constraints = constrain_zero(2:length(fixef(fit))), vcov = v, test = "HTZ")
  out[[length(out) + 1]] <- list(id = j[[1]], data = j[[2]], formula = j[[3]], groups = j[[5]], type = type,
    vcov = unname(as.matrix(v)[, ]), df = df, joint = list(statistic = w$Fstat, num_df = w$df_num, den_df = w$df_denom, p_value = w$p_val))
}
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE))
