# usage: Rscript fit.R worker nworkers   -> parts/NNN_<id>.json and lmm_extra.json (rewritten after each model)
suppressMessages({library(lme4); library(jsonlite)})
a <- commandArgs(TRUE); wk <- as.integer(a[1]); nw <- as.integer(a[2]); only <- if(length(a)>2) a[-(1:2)] else NULL
source("models.R")
ctl <- "control=lmerControl(check.conv.singular='ignore')"
mcall <- function(fun, m, f=m$formula, extra="") sprintf("%s(%s, data=dat, REML=%s%s%s%s)", fun, f, m$REML,
   if(is.null(m$weights)) "" else paste0(", weights=",m$weights), if(is.null(m$offset)) "" else paste0(", offset=",m$offset), extra)
rd <- function(nm) { d <- read.csv(paste0(nm,".csv"), stringsAsFactors=FALSE, na.strings="NA"); for(v in names(d)) if(is.character(d[[v]])) d[[v]] <- factor(d[[v]]); d }

## independent dense objective and gradient (Woodbury form), q small
mkdense <- function(lf, lw, REML) {
  y <- model.response(lf$fr); off <- model.offset(lf$fr); if(!is.null(off)) y <- y-off
  wt <- model.weights(lf$fr); if(is.null(wt)) wt <- rep(1,length(y)); sw <- sqrt(wt)
  Z <- t(lf$reTrms$Zt)*sw; X <- lf$X*sw; y <- as.vector(y)*sw
  R <- qr.R(qx <- qr(X)); piv <- qx$pivot; stopifnot(qx$rank==ncol(X)); Q <- qr.Q(qx)      # orthonormal X: same criterion up to log|R|
  A <- as.matrix(crossprod(Z)); ZX <- as.matrix(crossprod(Z,Q)); Zy <- as.vector(crossprod(Z,y)); Xy <- as.vector(crossprod(Q,y)); yy <- sum(y^2)
  n <- length(y); p <- ncol(X); df <- if(REML) n-p else n; ld0 <- if(REML) 2*sum(log(abs(diag(R)))) else 0
  Lt <- lf$reTrms$Lambdat; Lind <- lf$reTrms$Lind; i <- Lt@i+1L; j <- rep(seq_len(ncol(Lt)), diff(Lt@p)); q <- ncol(A); npar <- length(lf$reTrms$theta)
  pos <- cbind(j,i)                                    # Lambda[j,i] = Lambdat[i,j]
  slw <- sum(log(wt))
  function(th, grad=TRUE) {
    Lt@x <- th[Lind]; La <- as.matrix(t(Lt)); AL <- as.matrix(A %*% La); M <- crossprod(La, AL); diag(M) <- diag(M)+1
    U <- chol(M); CX <- backsolve(U, crossprod(La,ZX), transpose=TRUE); cy <- backsolve(U, crossprod(La,Zy), transpose=TRUE)
    XVX <- diag(p)-crossprod(CX); RX <- chol(XVX); XVy <- Xy-crossprod(CX,cy); b <- backsolve(RX, backsolve(RX,XVy,transpose=TRUE))
    # residual sum from the residual itself (accurate)
    u <- backsolve(U, cy-CX%*%b); Lu <- as.vector(La%*%u); r <- y-as.vector(Q%*%b)-as.vector(Z%*%Lu); pw <- sum(r^2)+sum(u^2)
    f <- 2*sum(log(diag(U)))+df*(1+log(2*pi*pw/df))-slw; if(REML) f <- f+2*sum(log(diag(RX)))+ld0
    if(!grad) return(f)
    Mi <- chol2inv(U); S <- 2*(AL%*%Mi)[pos] - 2*(df/pw)*(as.vector(crossprod(Z,r))[pos[,1]]*u[pos[,2]])
    if(REML) { G <- ZX-AL%*%backsolve(U,CX); H <- G%*%chol2inv(RX); LG <- crossprod(La,G); S <- S-2*rowSums(H[pos[,1],,drop=FALSE]*LG[pos[,2],,drop=FALSE]) }
    g <- as.vector(tapply(S, factor(Lind,levels=seq_len(npar)), sum)); list(f=f,g=g)
  }
}
fitone <- function(m) {
  t0 <- proc.time()[[3]]; dat <- rd(m$data); set.seed(7)
  warn <- character(); msg <- character()
  cap <- function(e) withCallingHandlers(e, warning=function(w){warn <<- c(warn,conditionMessage(w)); invokeRestart("muffleWarning")}, message=function(w){msg <<- c(msg,conditionMessage(w)); invokeRestart("muffleMessage")})
  td <- system.time(m0 <- cap(tryCatch(eval(parse(text=mcall("lmer",m))), error=function(e){warn <<- c(warn,paste("ERROR",conditionMessage(e))); NULL})))[[3]]
  dw <- warn; dm <- sub("\n$","",msg)
  lf <- suppressWarnings(suppressMessages(eval(parse(text=mcall("lFormula",m)))))
  dv <- suppressWarnings(do.call(mkLmerDevfun, lf)); lw <- getME_lower <- lf$reTrms$lower; th0 <- lf$reTrms$theta; np <- length(th0)
  q <- nrow(lf$reTrms$Zt); big <- q>900
  # blocks and scales
  cn <- lf$reTrms$cnms; nc <- lengths(cn); Gp <- lf$reTrms$Gp; sc <- numeric(); diagi <- integer(); blk <- list(); o <- 0
  for(k in seq_along(cn)) { Zk <- lf$reTrms$Zt[(Gp[k]+1):Gp[k+1],,drop=FALSE]; s2 <- Matrix::rowSums(Zk^2)
    rms <- sqrt(tapply(s2, rep(seq_len(nc[k]), length.out=nrow(Zk)), sum)/ncol(Zk)); idx <- which(lower.tri(diag(nc[k]),diag=TRUE),arr.ind=TRUE)
    sc <- c(sc, 1/rms[idx[,1]]); blk[[k]] <- list(pos=o+seq_len(nrow(idx)), idx=idx, nc=nc[k]); o <- o+nrow(idx) }
  sc <- as.vector(sc)
  Lof <- function(th,k) { L <- matrix(0,nc[k],nc[k]); L[blk[[k]]$idx] <- th[blk[[k]]$pos]; L }
  canon <- function(th) { for(k in seq_along(cn)) { L <- Lof(th,k); for(j in seq_len(nc[k])) if(L[j,j]<0) L[,j] <- -L[,j]; th[blk[[k]]$pos] <- L[blk[[k]]$idx] }; th }
  rstart <- function() { th <- th0; for(k in seq_along(cn)) { p <- nc[k]; L <- t(chol(crossprod(matrix(rnorm(p*(p+2)),p+2))/(p+2)))*exp(rnorm(1,-.7,1)); th[blk[[k]]$pos] <- L[blk[[k]]$idx] }; th*sc }
  opts <- list(); best <- list(f=Inf)
  add <- function(nm, th) { th <- as.vector(th); if(any(!is.finite(th))) return(); f <- tryCatch(dv(canon(th)), error=function(e) NA); opts[[nm]] <<- f; if(is.finite(f) && f<best$f) best <<- list(f=f, th=canon(th), nm=nm) }
  if(!is.null(m0)) add("default_nloptwrap", getME(m0,"theta"))
  ev <- if(np>10) 4000 else if(big) 1500 else 1e5
  nl <- function(alg, st, maxeval=ev) nloptwrap(st, dv, lower=lw, upper=rep(Inf,np), control=list(algorithm=alg, xtol_abs=1e-12, ftol_abs=1e-12, xtol_rel=0, ftol_rel=1e-15, maxeval=maxeval))$par
  T <- function(nm, e) suppressWarnings(tryCatch(add(nm,e), error=function(e) opts[[nm]] <<- NA))
  T("nlopt_BOBYQA", nl("NLOPT_LN_BOBYQA", th0)); T("nlopt_BOBYQA_scaled", nl("NLOPT_LN_BOBYQA", th0*sc))
  if(requireNamespace("minqa",quietly=TRUE)) T("bobyqa", minqa::bobyqa(th0, dv, lw, rep(Inf,np), control=list(rhobeg=.2*min(1,max(th0)),rhoend=1e-9,maxfun=ev))$par)
  if(!big || np<3) { T("nlopt_NELDERMEAD", nl("NLOPT_LN_NELDERMEAD", th0, min(ev,5000))); T("nlopt_SBPLX", nl("NLOPT_LN_SBPLX", th0, min(ev,5000))) }
  T("nlminb", nlminb(th0, dv, lower=lw, control=list(rel.tol=1e-15,x.tol=1e-12,eval.max=ev,iter.max=2000))$par)
  if(!is.null(m$start)) T("transformed_start", m$start())
  den <- if(!big) mkdense(lf, lw, m$REML); spread1 <- NA; gmax <- NA; mineig <- NA
  if(big) { fg <- function(th) dv(canon(th)); gr <- function(th) numDeriv::grad(fg, th)
    for(i in 1:2) T(paste0("nlopt_BOBYQA_rand",i), nl("NLOPT_LN_BOBYQA", pmax(rstart(),lw))) } else {
    fg <- function(th) tryCatch(den(th,FALSE), error=function(e) 1e300); gr <- function(th) den(th)$g
    nm <- function(st) { r <- nlminb(st/sc, function(p) fg(p*sc), function(p) tryCatch(gr(p*sc)*sc,error=function(e) rep(0,np)), control=list(rel.tol=1e-15,x.tol=1e-12,eval.max=1000,iter.max=600)); r$par*sc }
    for(i in seq_len(if(np>15) 4 else 6)) T(paste0("nlminb_grad_rand",i), nm(rstart()))
    T("nlminb_grad_start", nm(th0*sc)); T("nlminb_grad_best", nm(best$th)); if(np<=10) for(i in 1:2) T(paste0("nlopt_BOBYQA_rand",i), nl("NLOPT_LN_BOBYQA", pmax(rstart(),lw)))
  }
  # Newton polish (theta unconstrained: the criterion is even in each column of L)
  if(is.null(m$nopolish)) tryCatch({ th <- best$th; D <- pmax(abs(th), 1e-3*sc, 1e-6)
    for(it in 1:6) { g <- gr(th); if(big) H <- numDeriv::hessian(fg, th) else { H <- matrix(0,np,np); for(k in seq_len(np)) { h <- 1e-4*max(abs(th[k]),.01*sc[k]); e <- replace(numeric(np),k,h); H[,k] <- (gr(th+e)-gr(th-e))/(2*h) } }
      H <- (H+t(H))/2; Hs <- H*outer(sc,sc); gs <- g*sc; E <- eigen(Hs,symmetric=TRUE); lam <- E$values; mineig <- min(lam)/max(abs(lam)); gmax <- max(abs(gs))
      if(mineig < -1e-5 && fg(th) < 1e299) { v <- E$vectors[,np]*sc; for(t in c(1,.3,.1,.03,.01)*max(1,1)) for(s in c(-1,1)) if(fg(th+s*t*v)<fg(th)-1e-9) { T("neg_curvature", if(big) th+s*t*v else nm(th+s*t*v)); break }; if(best$f < fg(th)-1e-9) { th <- best$th; next } }
      keep <- abs(lam) > 1e-8*max(abs(lam)); st <- -sc*as.vector(E$vectors[,keep,drop=FALSE]%*%((crossprod(E$vectors[,keep,drop=FALSE],gs))/abs(lam[keep])))
      new <- th+st; if(fg(new) <= fg(th)+1e-9 && max(abs(gr(new)*sc)) < gmax) { th <- new; gmax <- max(abs(gr(th)*sc)) } else break
      if(gmax<1e-9) break }
    opts[["newton"]] <- dv(canon(th)); if(opts[["newton"]] <= best$f+1e-7) best <- list(f=opts[["newton"]], th=canon(th), nm="newton") }, error=function(e) opts[["newton"]] <<- paste("failed:",conditionMessage(e)))
  if(!is.null(m$nopolish)) best <- list(f=NA, th=m$start(), nm="transformed_start")  # lme4's objective here is rounding noise around the exact one
  # zero the negligible elements of theta
  for(k in which(abs(best$th)<1e-4*sc & best$th!=0)) { t2 <- replace(best$th,k,0); if(is.null(m$nopolish) && dv(t2) <= best$f+1e-9) best$th <- t2 }
  best$f <- dv(best$th)
  # further lme4 optimisers cannot start better: assemble the fit at the best theta
  fit <- mkMerMod(environment(dv), list(par=best$th, fval=best$f, feval=0L, conv=0L, message=""), lf$reTrms, fr=lf$fr, mc=match.call())
  out(m, fit, lf, best, opts, m0, dw, dm, td, den, gmax, mineig, t0)
}
A1 <- function(x) I(as.vector(unname(x)))
out <- function(m, fit, lf, best, opts, m0, dw, dm, td, den, gmax, mineig, t0) {
  ll <- logLik(fit); fe <- fixef(fit); V <- as.matrix(vcov(fit)); vc <- VarCorr(fit); gf <- names(getME(fit,"cnms"))
  off <- model.offset(lf$fr); pp <- as.vector(getME(fit,"X")%*%fe); if(!is.null(off)) pp <- pp+off
  h <- function(x) A1(head(as.vector(unname(x)),10)); sr <- residuals(fit,"pearson",scaled=TRUE)
  re <- ranef(fit, condVar=TRUE)
  rl <- lapply(re, function(df) { pv <- attr(df,"postVar"); if(!is.list(pv)) pv <- list(pv)
    cs <- do.call(cbind, lapply(pv, function(a) { k <- dim(a)[1]; matrix(sqrt(pmax(0,t(apply(a,3,function(z) diag(as.matrix(z)))))), ncol=k, byrow=FALSE, dimnames=NULL) } ))
    i <- seq_len(min(10,nrow(df))); M <- unname(as.matrix(df))
    list(columns=A1(colnames(df)), nlevels=nrow(df), levels=A1(rownames(df)[i]), values=M[i,,drop=FALSE], cond_sd=unname(cs[i,,drop=FALSE]), col_sum=A1(colSums(M)), col_sumsq=A1(colSums(M^2)), cond_sd_sum=A1(colSums(cs))) })
  obj <- if(m$REML) as.numeric(REMLcrit(fit)) else -2*as.numeric(ll)
  de <- if(is.null(den)) NULL else den(best$th,FALSE)
  no <- unlist(Filter(is.numeric, opts)); r <- list(id=m$id, kind="lmm", data=m$data, formula=m$formula)
  if(!is.null(m$alt)) r$formula_alt <- m$alt
  r <- c(r, list(REML=m$REML, weights=m$weights, offset=m$offset, note=m$note, objective=obj, objective_kind=if(m$REML) "REML criterion" else "-2 log-likelihood",
    check=list(dense_objective=de, difference=if(!is.null(de)) obj-de, devfun=best$f),
    nobs=nobs(fit), ngroups=as.list(ngrps(fit)), grouping_names=A1(names(re)), logLik=as.numeric(ll), df=attr(ll,"df"), AIC=AIC(fit), BIC=BIC(fit), df_residual=df.residual(fit),
    fixef=list(names=A1(names(fe)), values=A1(fe), se=A1(sqrt(diag(V))), t=A1(fe/sqrt(diag(V)))), vcov=unname(V),
    theta=list(names=A1(names(getME(fit,"theta"))), values=A1(getME(fit,"theta"))),
    varcorr=lapply(seq_along(vc), function(k) { v <- vc[[k]]; S <- unname(matrix(as.vector(v),nrow(v))); list(group=names(vc)[k], group_factor=gf[k], names=A1(colnames(v)), sd=A1(attr(v,"stddev")), var=A1(diag(S)), corr=unname(matrix(as.vector(attr(v,"correlation")),nrow(v))), cov=S) }),
    sigma=sigma(fit), use_scale=TRUE, ranef=rl, fitted=h(fitted(fit)), fitted_rows=A1(head(rownames(lf$fr),10)), fitted_sum=sum(fitted(fit)),
    scaled_residual_quantiles=A1(quantile(sr,type=7)), scaled_residuals=h(sr), residuals_response=h(residuals(fit,"response")), predict_population=h(pp), predict_population_sum=sum(pp),
    is_singular=isSingular(fit), min_theta_diag=min(best$th[lf$reTrms$lower==0]),
    default=if(!is.null(m0)) list(warnings=A1(dw), messages=A1(dm), time=td, objective=if(m$REML) as.numeric(REMLcrit(m0)) else -2*as.numeric(logLik(m0)), theta=A1(getME(m0,"theta")), fixef=A1(fixef(m0)), fixef_se=A1(sqrt(diag(as.matrix(vcov(m0))))), sigma=sigma(m0), is_singular=isSingular(m0)) else list(error=A1(dw)),
    optimizers=opts, best_from=best$nm, n_reach_1e6=sum(no<min(no)+1e-6), grad_max_scaled=gmax, min_eig_rel=mineig, elapsed=proc.time()[[3]]-t0))
  if(!is.null(m0)) r$default$excess <- r$default$objective-obj
  r <- r[!(names(r)%in%c("note") & sapply(r,is.null))]
  r
}
assemble <- function() { fs <- sort(list.files("parts", "\\.json$", full.names=TRUE)); tmp <- sprintf("lmm_extra.%d.tmp",wk)
  writeLines(c("[", paste(sapply(fs,function(f) paste(readLines(f),collapse="\n")), collapse=",\n"), "]"), tmp); file.rename(tmp,"lmm_extra.json") }
for(k in seq_along(models)) { m <- models[[k]]; if(!is.null(only)) { if(!(m$id%in%only)) next } else if(k%%nw != wk%%nw) next
  r <- tryCatch(fitone(m), error=function(e) { cat("FAILED", m$id, conditionMessage(e), "\n"); NULL })
  if(!is.null(r)) { f <- sprintf("parts/%03d_%s.json",k,m$id); writeLines(toJSON(r,digits=I(15),auto_unbox=TRUE,null="null",na="null",pretty=TRUE), paste0(f,".t")); file.rename(paste0(f,".t"),f); assemble()
    cat(sprintf("%s np=%d obj=%.9f dense_diff=%.1e def_excess=%.2e sing=%s grad=%.1e mineig=%.1e best=%s reach=%d/%d td=%.2f el=%.1f\n", m$id, length(r$theta$values), r$objective, if(is.null(r$check$difference)) NA else r$check$difference, if(is.null(r$default$excess)) NA else r$default$excess, r$is_singular, r$grad_max_scaled, r$min_eig_rel, r$best_from, r$n_reach_1e6, length(r$optimizers), td=if(is.null(r$default$time)) NA else r$default$time, r$elapsed)) }
}
