# Simulates every data set of lmm_extra.json (fixed seeds); run in an empty folder that holds sleepstudy.csv.
options(stringsAsFactors=FALSE)
lev <- function(p,i) sprintf("%s%0*d", p, max(nchar(max(i)),2), as.integer(i))
w <- function(d, nm) write.csv(d, paste0(nm,".csv"), row.names=FALSE)   # 15 significant digits
rmv <- function(n, S) matrix(rnorm(n*nrow(S)),n) %*% chol(S)
rank1 <- function(n, v) outer(rnorm(n), v)
covm <- function(sd, r) { R <- matrix(r,length(sd),length(sd)); diag(R) <- 1; outer(sd,sd)*R }
ab <- function(d) { A <- as.numeric(d$a=="a2"); B <- as.numeric(d$b=="b2"); cbind(1,A,B,A*B) }

# 1 crossed random slopes ------------------------------------------------
mk1 <- function(seed, sing) { set.seed(seed)
  d <- expand.grid(subj=1:40,item=1:24,rep=1:2)
  d$a <- c("a1","a2")[1+(d$rep-1)]; d$b <- c("b1","b2")[1+((d$item+d$subj)%%2)]
  X <- ab(d)
  Us <- if(sing) cbind(rank1(40,c(30,12)), 0*rmv(40,covm(c(1,1),0))) else rmv(40,covm(c(30,20,18,24),.3))
  Ui <- if(sing) rank1(24,c(20,-8)) else rmv(24,covm(c(20,12),-.25))
  d$y <- as.vector(X%*%c(500,25,-15,10)) + rowSums(X*Us[d$subj,]) + rowSums(X[,1:2]*Ui[d$item,]) + rnorm(nrow(d),0,40)
  d$subj <- lev("s",d$subj); d$item <- lev("i",d$item); d$rep <- NULL
  d <- d[sort(sample(nrow(d), 1800)),]; d }
w(mk1(1001,FALSE),"x_crossed"); w(mk1(1002,TRUE),"x_crossed_sing")
# 2 full maximal 30 x 20, four correlated effects each, singular truth ---
set.seed(1003); d <- expand.grid(subj=1:30,item=1:20,rep=1:2)
k <- (d$subj+d$item+2*(d$rep-1))%%4; d$a <- c("a1","a2")[1+k%%2]; d$b <- c("b1","b2")[1+k%/%2]; X <- ab(d)
Us <- rank1(30,c(1,.4,-.3,.2)); Ui <- rank1(20,c(.7,.1,.2,0))+rank1(20,c(0,.2,-.2,0))
d$y <- as.vector(X%*%c(6,.2,-.1,.05))+rowSums(X*Us[d$subj,])+rowSums(X*Ui[d$item,])+rnorm(nrow(d))
d$subj <- lev("s",d$subj); d$item <- lev("i",d$item); d$rep <- NULL; w(d,"x_maximal")
# 3 six correlated effects -----------------------------------------------
set.seed(1004); g <- rep(1:80, sample(12:24,80,TRUE)); n <- length(g)
X <- cbind(1,matrix(rnorm(5*n),n)); S <- covm(c(1.5,1,.8,.6,.5,.4),.3); S[1,2] <- S[2,1] <- -.5
U <- rmv(80,S); d <- data.frame(g=lev("g",g)); for(j in 1:5) d[[paste0("x",j)]] <- X[,j+1]
d$y <- as.vector(X%*%c(2,1,-1,.5,0,.25))+rowSums(X*U[g,])+rnorm(n); w(d,"x_six")
# 4 growth curves --------------------------------------------------------
set.seed(1005); d <- expand.grid(tt=0:9,id=1:60); d$t <- round(d$tt*100/9,1); z <- d$tt/9-.5
U <- rmv(60,covm(c(4,3,5),.2)); Xz <- cbind(1,z,z^2)
d$y <- as.vector(Xz%*%c(50,12,-9))+rowSums(Xz*U[d$id,])+rnorm(nrow(d),0,2)
d <- d[sort(sample(nrow(d),520)),]; P <- poly(d$t,2); d$p1 <- P[,1]; d$p2 <- P[,2]; d$t2 <- d$t^2; d$tt <- NULL
d$id <- lev("id",d$id); w(d,"x_growth")
# 5 three deep, labels of b and c reused; unbalanced ---------------------
set.seed(1006); d <- expand.grid(r=1:5,c=1:3,b=1:5,a=1:14); d <- d[runif(nrow(d))<.55,]
key <- (d$a-1)*5+d$b; key2 <- (key-1)*3+d$c; d$x <- rnorm(nrow(d))
ua <- rmv(14,covm(c(2,.8),.4)); ub <- rmv(70,covm(c(1.2,.7),-.3)); uc <- rnorm(210,0,.9)
d$y <- 10+1.5*d$x+ua[d$a,1]+ua[d$a,2]*d$x+ub[key,1]+ub[key,2]*d$x+uc[key2]+rnorm(nrow(d))
d$a <- lev("a",d$a); d$b <- lev("b",d$b); d$c <- lev("c",d$c); d$r <- NULL; w(d,"x_nest3")
# 6 (1|a/b)+(1|c) ---------------------------------------------------------
set.seed(1007); n <- 700; a <- sample(1:15,n,TRUE,prob=(1:15)); b <- sample(1:6,n,TRUE); c <- sample(1:22,n,TRUE)
x <- runif(n); key <- (a-1)*6+b
y <- 3+2*x+rnorm(15,0,1)[a]+rnorm(90,0,.7)[key]+rnorm(22,0,1.3)[c]+rnorm(n)
w(data.frame(y=y,x=x,a=lev("a",a),b=lev("b",b),c=lev("c",c)),"x_partial")
# 7 three crossed factors, unbalanced -------------------------------------
set.seed(1008); d <- expand.grid(a=1:25,b=1:15,c=1:8); d <- d[runif(nrow(d))<.35,]; d$x <- rnorm(nrow(d))
d$y <- 1+.5*d$x+rnorm(25,0,1)[d$a]+rnorm(15,0,2)[d$b]+rnorm(8,0,.5)[d$c]+rnorm(25,0,.4)[d$a]*d$x+rnorm(nrow(d),0,1.5)
d$a <- lev("a",d$a); d$b <- lev("b",d$b); d$c <- lev("c",d$c); w(d,"x_cross3")
# 8 weights over four orders of magnitude --------------------------------
set.seed(1009); g <- rep(1:40,each=10); n <- length(g); x <- rnorm(n); wt <- 10^runif(n,-2,2); U <- rmv(40,covm(c(2,1),.5))
w(data.frame(y=5-x+U[g,1]+U[g,2]*x+rnorm(n)/sqrt(wt),x=x,w=wt,g=lev("g",g)),"x_weights")
# 9 missing values in y, x and g; group g07 has no complete row ----------
set.seed(1010); g <- rep(1:25,each=12); n <- length(g); x <- rnorm(n); U <- rmv(25,covm(c(1.5,.7),.3))
f <- sample(c("u","v","z"),n,TRUE); y <- 2+x+(f=="v")-.5*(f=="z")+U[g,1]+U[g,2]*x+rnorm(n); gl <- lev("g",g)
y[sample(n,20)] <- NA; x[sample(n,15)] <- NA; f[sample(n,8)] <- NA; y[g==7] <- NA; gl[sample(n,12)] <- NA
w(data.frame(y=y,x=x,f=f,g=gl),"x_missing")
# 10 rescaled sleepstudy --------------------------------------------------
s <- read.csv("sleepstudy.csv"); s$Subject <- paste0("S",s$Subject)
s$y6 <- s$Reaction*1e6; s$ym6 <- s$Reaction*1e-6; s$dshift <- s$Days+1e4; s$dsmall <- s$Days/1e5; w(s,"x_sleep")
# 11 10^4 groups ----------------------------------------------------------
set.seed(1011); g <- rep(1:10000,sample(1:3,10000,TRUE)); n <- length(g); x <- round(rnorm(n),4)
w(data.frame(y=round(1+.5*x+rnorm(10000)[g]+rnorm(n),5),x=x,g=lev("g",g)),"x_many13")
g <- rep(1:10000,each=5); n <- length(g); x <- round(rnorm(n),4); U <- rmv(10000,covm(c(1,.6),.4))
w(data.frame(y=round(1+.5*x+U[g,1]+U[g,2]*x+rnorm(n),5),x=x,g=lev("g",g)),"x_many5")
# 12 singular truths ------------------------------------------------------
set.seed(1012); d <- expand.grid(a=1:20,b=1:20); d$x <- rnorm(nrow(d))
e <- rnorm(nrow(d)); e <- e-ave(e,d$a)*.9            # within-a means shrunk: variance of a estimated 0
d$y <- 1+d$x+rnorm(20,0,.8)[d$b]+e; e2 <- rnorm(nrow(d)); e2 <- e2-.9*ave(e2,d$a)-.9*ave(e2,d$b); d$y0 <- 1+d$x+e2
d$a <- lev("a",d$a); d$b <- lev("b",d$b); w(d,"x_zero")
set.seed(1013); g <- rep(1:30,each=8); n <- length(g); x <- rnorm(n); b0 <- rnorm(30,0,2)
w(data.frame(y=3+x+b0[g]*(1+.5*x)+rnorm(n),yn=3+x+b0[g]*(1-.5*x)+rnorm(n),x=x,g=lev("g",g)),"x_perfcor")
# 13 tiny -----------------------------------------------------------------
w(data.frame(y=c(1.2,1.9,3.1,2.7,5.2,4.4),x=c(0,1,0,1,0,1),g=c("a","a","b","b","c","c")),"x_tiny6")
set.seed(1014); g <- rep(1:2,each=10); x <- round(rnorm(20),3)
w(data.frame(y=round(c(1,4)[g]+c(.5,1.5)[g]*x+rnorm(20),3),x=x,g=c("g1","g2")[g]),"x_two")
# 14 / 18 factor effects --------------------------------------------------
set.seed(1015); g <- rep(1:45,each=12); n <- length(g); f <- sample(c("f1","f2","f3"),n,TRUE); d1 <- +(f=="f2"); d2 <- +(f=="f3")
y <- 4+d1-.5*d2+rnorm(45,0,1.2)[g]+rnorm(45,0,.9)[g]*d1+rnorm(45,0,.5)[g]*d2+rnorm(n)
w(data.frame(y=y,f=f,d1=d1,d2=d2,g=lev("g",g)),"x_dummies")
set.seed(1016); g <- rep(1:50,each=16); n <- length(g); k <- sample(1:4,n,TRUE); U <- rmv(50,covm(c(1,1.5,.7,1.1),.45)); x <- rnorm(n)
w(data.frame(y=c(1,2,1.5,0)[k]+U[cbind(g,k)]+rnorm(50,0,.6)[g]*x+rnorm(n),f=paste0("k",k),x=x,g=lev("g",g)),"x_fac4")
# 15 several terms of one factor -----------------------------------------
set.seed(1017); g <- rep(1:50,each=14); n <- length(g); X <- matrix(rnorm(3*n),n); U <- rmv(50,covm(c(.9,.6),.6))
y <- 1+X%*%c(1,.5,-.5)+rnorm(50,0,1.4)[g]+rnorm(50,0,.8)[g]*X[,1]+U[g,1]*X[,2]+U[g,2]*X[,3]+rnorm(n)
w(data.frame(y=as.vector(y),x1=X[,1],x2=X[,2],x3=X[,3],g=lev("g",g)),"x_terms")
# 16 extreme ICC ----------------------------------------------------------
set.seed(1018); g <- rep(1:60,each=15); n <- length(g); x <- rnorm(n); u <- rnorm(60)
w(data.frame(ysmall=10+2*x+4*u[g]+rnorm(n,0,100),ybig=10+2*x+100*u[g]+rnorm(n,0,1),x=x,g=lev("g",g)),"x_icc")
# 17 offset and weights ---------------------------------------------------
set.seed(1019); g <- rep(1:30,sample(5:15,30,TRUE)); n <- length(g); x <- rnorm(n); off <- rnorm(n,3,2); wt <- rgamma(n,2,2)+.1; U <- rmv(30,covm(c(1,.7),-.4))
w(data.frame(y=1+x+off+U[g,1]+U[g,2]*x+rnorm(n)/sqrt(wt),x=x,off=off,w=wt,g=lev("g",g)),"x_offw")
# 19 crossed and replicated, a:b -----------------------------------------
set.seed(1020); d <- expand.grid(r=1:4,a=1:12,b=1:9); d <- d[runif(nrow(d))<.85,]; d$x <- rnorm(nrow(d))
d$y <- 2+.3*d$x+rnorm(12,0,1)[d$a]+rnorm(9,0,.6)[d$b]+rnorm(108,0,.8)[(d$a-1)*9+d$b]+rnorm(nrow(d))
d$a <- lev("a",d$a); d$b <- lev("b",d$b); d$r <- NULL; w(d,"x_inter")
# 20 polynomials and splines in the fixed part ---------------------------
set.seed(1021); g <- rep(1:40,each=12); n <- length(g); X <- matrix(runif(5*n,-1,2),n); U <- rmv(40,covm(c(1,.5),.3))
y <- sin(2*X[,1])+X[,2]^2+X[,3]*.5-X[,4]*X[,5]+U[g,1]+U[g,2]*X[,3]+rnorm(n,0,.7)
d <- data.frame(y=y,g=lev("g",g)); for(j in 1:5) d[[paste0("x",j)]] <- X[,j]
P1 <- poly(d$x1,3); P2 <- poly(d$x2,2); for(j in 1:3) d[[paste0("p",j)]] <- P1[,j]; for(j in 1:2) d[[paste0("q",j)]] <- P2[,j]
B <- splines::bs(d$x1,df=5); N <- splines::ns(d$x2,df=4); for(j in 1:5) d[[paste0("bs",j)]] <- B[,j]; for(j in 1:4) d[[paste0("ns",j)]] <- N[,j]
w(d,"x_poly")
