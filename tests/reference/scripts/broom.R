# Writes ../broom.json: tidy, glance and augment of R's broom.mixed. Run in tests/reference/scripts: Rscript broom.R
suppressMessages({library(lme4); library(lmerTest); library(broom.mixed); library(jsonlite)})
d <- function(f) read.csv(file.path("..", "..", "data", f))
sleep <- d("sleepstudy.csv"); sleep$Subject <- factor(sleep$Subject)
cbpp <- d("cbpp.csv"); cbpp$period <- factor(cbpp$period); cbpp$herd <- factor(cbpp$herd)
pen <- d("Penicillin.csv"); ticks <- d("grouseticks.csv"); for (n in c("YEAR", "BROOD", "LOCATION")) ticks[[n]] <- factor(ticks[[n]])
inst <- read.csv(gzfile(file.path("..", "..", "data", "InstEval.csv.gz"))); inst <- inst[inst$s <= 150, ]
for (n in c("s", "d", "service")) inst[[n]] <- factor(inst[[n]])
tight <- lmerControl(optimizer="nloptwrap", optCtrl=list(xtol_abs=1e-12, ftol_abs=1e-12, xtol_rel=0, maxeval=1e5))
gtight <- glmerControl(optimizer="bobyqa", optCtrl=list(rhoend=1e-10, maxfun=1e5), tolPwrss=1e-12)
cases <- list(
  sleepstudy=list("Reaction ~ Days + (Days | Subject)", lmerTest::lmer(Reaction ~ Days + (Days | Subject), sleep, control=tight)),
  "sleepstudy-ml"=list("Reaction ~ Days + (Days || Subject)", lmerTest::lmer(Reaction ~ Days + (Days || Subject), sleep, REML=FALSE, control=tight)),
  Penicillin=list("diameter ~ 1 + (1 | plate) + (1 | sample)", lmerTest::lmer(diameter ~ 1 + (1 | plate) + (1 | sample), pen, control=tight)),
  InstEval=list("y ~ service + (1 | s) + (1 | d)", lmerTest::lmer(y ~ service + (1 | s) + (1 | d), inst, control=tight)),
  cbpp=list("cbind(incidence, size - incidence) ~ period + (1 | herd)", glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, control=gtight)),
  ticks=list("TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)", glmer(TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION), ticks, poisson, control=gtight)))
some <- function(t) t[unique(round(seq(1, nrow(t), length.out=30))), ]
plain <- function(t) { t <- as.data.frame(t); for (n in names(t)) if (is.factor(t[[n]])) t[[n]] <- as.character(t[[n]]); as.list(t) }
out <- lapply(cases, function(case) { m <- case[[2]]; linear <- is(m, "lmerMod"); cat(case[[1]], "\n")
  a <- suppressWarnings(as.data.frame(augment(m))); a <- a[, grepl("^[.]", names(a))]
  v <- as.data.frame(tidy(m, effects="ran_vals", conf.int=TRUE))
  list(formula=case[[1]],
    fixed=plain(tidy(m, effects="fixed", conf.int=TRUE, conf.level=0.9)),
    both=plain(tidy(m)),
    vcov=plain(tidy(m, effects="ran_pars", scales="vcov")),
    exponentiate=if (!linear) plain(tidy(m, effects="fixed", conf.int=TRUE, exponentiate=TRUE)),
    profile=if (linear && nrow(sleep) == nobs(m)) plain(suppressMessages(tidy(refitML(m), effects="ran_pars", conf.int=TRUE, conf.method="profile"))),
    ran_vals=plain(some(v)), ran_coefs=plain(some(as.data.frame(tidy(m, effects="ran_coefs")))),
    glance=plain(glance(m)), augment=plain(head(a, 12))) })
writeLines(toJSON(list(versions=c(R=R.version.string, lme4=as.character(packageVersion("lme4")), broom.mixed=as.character(packageVersion("broom.mixed")), lmerTest=as.character(packageVersion("lmerTest"))) |> as.list(), cases=out), digits=I(12), auto_unbox=TRUE, na="null", pretty=FALSE), "../broom.json")
