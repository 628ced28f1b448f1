"""Episodes on a fixed list of deals, and the figures that come of them."""
