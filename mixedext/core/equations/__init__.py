"""The penalised normal equations: cross-products, storage, elimination."""
