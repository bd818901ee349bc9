# One fit in R, in a process of its own, timed as worker.py times those in Python.
# Rscript peers.R ENGINE DATA_DIRECTORY FORMULA FAMILY REML OUTPUT

arguments <- commandArgs(trailingOnly = TRUE)
engine <- arguments[1]
directory <- arguments[2]
text <- arguments[3]
family <- arguments[4]
reml <- arguments[5] == "1"
output <- arguments[6]

options(warn = -1)
suppressPackageStartupMessages(library(if (engine == "lme4") "lme4" else "glmmTMB", character.only = TRUE))

# A fit shorter than `short` seconds is repeated so often; the same figures as in worker.py.
short <- 0.1
repetitions <- 10

read_data <- function() {
  columns <- read.delim(file.path(directory, "columns.tsv"), stringsAsFactors = FALSE)
  read_column <- function(name, kind) {
    path <- file.path(directory, paste0(name, ".bin"))
    if (kind == "number") return(readBin(path, "double", file.size(path) / 8, endian = "little"))
    codes <- readBin(path, "integer", file.size(path) / 4, size = 4, endian = "little")
    if (kind == "integer") return(codes)
    levels <- readLines(file.path(directory, paste0(name, ".levels")))
    structure(codes, levels = levels, class = "factor")
  }
  data <- mapply(read_column, columns$name, columns$kind, SIMPLIFY = FALSE)
  structure(data, class = "data.frame", row.names = seq_along(data[[1]]))
}

fit_model <- function(formula, data) {
  if (engine == "glmmtmb") {
    own <- switch(family, gaussian = gaussian(), binomial = binomial(), poisson = poisson())
    model <- glmmTMB(formula, data, family = own, REML = reml)
    errors <- sqrt(diag(vcov(model)$cond))
  } else {
    model <- if (family == "gaussian") lmer(formula, data, REML = reml) else glmer(formula, data, family = family)
    errors <- sqrt(diag(as.matrix(vcov(model))))
  }
  stopifnot(all(is.finite(errors)))
  model
}

timed_fit <- function(formula, data) {
  before <- proc.time()
  model <- fit_model(formula, data)
  spent <- proc.time() - before
  list(model = model, wall = spent[["elapsed"]], cpu = spent[["user.self"]] + spent[["sys.self"]])
}

# MiB at the highest, since `reset_peak` where the kernel allows it
reset_peak <- function() {
  invisible(gc())
  if (file.exists("/proc/self/clear_refs")) cat("5", file = "/proc/self/clear_refs")
}
peak <- function() {
  if (!file.exists("/proc/self/status")) return(NA)
  line <- grep("^VmHWM:", readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}

set.seed(1)
tiny <- data.frame(x = rnorm(100), g = rep(1:10, 10))
tiny$y <- switch(family, gaussian = rnorm(100), binomial = rbinom(100, 1, 0.5), poisson = rpois(100, 2))
invisible(suppressMessages(fit_model(y ~ x + (1 | g), tiny)))
startup <- sum(proc.time()[c("user.self", "sys.self")])

formula <- as.formula(text)
data <- read_data()
reset_peak()
start <- peak()
run <- suppressMessages(timed_fit(formula, data))
memory <- peak() - start
wall <- run$wall
cpu <- run$cpu
if (wall < short) {
  # the clock of the processor ticks in milliseconds: time the repetitions together
  total <- proc.time()
  for (i in seq_len(repetitions)) {
    again <- suppressMessages(timed_fit(formula, data))
    wall <- min(wall, again$wall)
  }
  total <- proc.time() - total
  cpu <- min(cpu, (total[["user.self"]] + total[["sys.self"]]) / repetitions)
}

model <- run$model
objective <- -2 * as.numeric(logLik(model))
evaluations <- if (engine == "lme4") model@optinfo$feval else unname(model$fit$evaluations[1])
if (length(evaluations) != 1 || is.na(evaluations)) evaluations <- "null"
library_version <- as.character(packageVersion(if (engine == "lme4") "lme4" else "glmmTMB"))

number <- function(x) if (is.na(x)) "null" else format(x, digits = 15)
cat(sprintf(
  paste0(
    '{"wall": %s, "cpu": %s, "memory": %s, "objective": %s, "evaluations": %s, ',
    '"version": "%s (%s)", "startup": %s}\n'
  ),
  number(wall), number(cpu), number(memory), number(objective), evaluations,
  library_version, R.version.string, number(startup)
), file = output)
