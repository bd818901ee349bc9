# adds `equivalent` (the exact answer from a well-scaled form of the same model) and `alt_check` to parts/, then rewrites lmm_extra.json
suppressMessages({library(lme4); library(jsonlite)}); s <- read.csv("x_sleep.csv")
tight <- lmerControl(optimizer="nloptwrap", optCtrl=list(xtol_abs=1e-13,ftol_abs=1e-13,xtol_rel=0,maxeval=1e5))
base <- list(); for(R in c(TRUE,FALSE)) { f <- lmer(Reaction~Days+(Days|Subject), s, REML=R, control=tight); dv <- update(f,devFunOnly=TRUE); th <- getME(f,"theta")
  th <- unlist(fromJSON(Sys.glob(if(R) "parts/*_x10-ym6-reml.json" else "parts/*_x10-ym6-ml.json"))$theta$values)  # theta does not depend on the scale of y
  dv(th); f <- lmer(Reaction~Days+(Days|Subject), s, REML=R, start=th, control=lmerControl(optimizer=NULL)); base[[as.character(R)]] <- f; cat(R, dv(th), max(abs(numDeriv::grad(dv,th))), as.numeric(if(R) REMLcrit(f) else -2*logLik(f)),"\n") }
eq <- function(R, T, c=1) { # x' = x + a or x * s: b = T b_Days; y' = c*y
  f <- base[[as.character(R)]]; n <- 180; df <- if(R) n-2 else n; o <- as.numeric(if(R) REMLcrit(f) else -2*logLik(f)) + 2*df*log(c) - (if(R) 2*log(abs(det(T))) else 0)
  V <- c^2*T%*%as.matrix(vcov(f))%*%t(T); S <- c^2*T%*%matrix(VarCorr(f)$Subject,2)%*%t(T)
  list(from="Reaction ~ Days + (Days|Subject), optimum transformed exactly", objective=o, fixef=list(values=I(as.vector(c*T%*%fixef(f))), se=I(sqrt(diag(V)))), vcov=V, sigma=c*sigma(f), cov=S, sd=I(sqrt(diag(S))), corr=S[1,2]/sqrt(S[1,1]*S[2,2]), fitted=I(head(c*unname(fitted(f)),10)), ranef_first10=head(unname(as.matrix(ranef(f)$Subject)%*%t(T)*c),10)) }
I2 <- diag(2); Ts <- matrix(c(1,0,-1e4,1),2); Tx <- diag(c(1,1e5))
E <- list("x10-y1e6-reml"=eq(TRUE,I2,1e6),"x10-ym6-reml"=eq(TRUE,I2,1e-6),"x10-ym6-ml"=eq(FALSE,I2,1e-6),"x10-shift-reml"=eq(TRUE,Ts),"x10-shift-ml"=eq(FALSE,Ts),"x10-xsmall-reml"=eq(TRUE,Tx),"x10-xsmall-ml"=eq(FALSE,Tx))
library(splines); alt <- c("x4-orthpoly-reml"="y ~ poly(t,2)+(poly(t,2)|id)","x4-orthpoly-ml"="y ~ poly(t,2)+(poly(t,2)|id)","x20-poly-reml"="y ~ poly(x1,3)+poly(x2,2)+x3+I(x3^2)+x4*x5+(x3|g)","x20-spline-ml"="y ~ bs(x1,df=5)+ns(x2,df=4)+x3+x4+x5+(1|g)")
fs <- sort(list.files("parts","\\.json$",full.names=TRUE)); all <- character()
for(f in fs) { r <- fromJSON(f,simplifyVector=FALSE); id <- r$id; txt <- paste(readLines(f),collapse="\n")
  add <- list(); if(!is.null(E[[id]])) { add$equivalent <- E[[id]]; cat(sprintf("%s objective - exact = %.3e\n", id, r$objective-E[[id]]$objective)) }
  if(id%in%names(alt)) { d <- read.csv(paste0(r$data,".csv")); th <- unlist(r$theta$values); m <- suppressWarnings(lmer(as.formula(alt[[id]]),d,REML=r$REML,start=th,control=lmerControl(optimizer=NULL,calc.derivs=FALSE)))
    o <- as.numeric(if(r$REML) REMLcrit(m) else -2*logLik(m)); add$alt_check <- list(formula=alt[[id]],objective=o,fixef=list(names=I(names(fixef(m))),values=I(unname(fixef(m))))); cat(sprintf("%s alt - main = %.3e\n", id, o-r$objective)) }
  if(length(add)) { a <- toJSON(add,digits=I(15),auto_unbox=TRUE,pretty=TRUE); txt <- paste0(sub("\\s*\\}\\s*$","",txt),",\n",sub("^\\{","",a)) }
  all <- c(all,txt) }
writeLines(c("[",paste(all,collapse=",\n"),"]"),"lmm_extra.tmp"); file.rename("lmm_extra.tmp","lmm_extra.json")
