"""How a loss of one access pattern is evaluated: shapes, weights, masks and reduction."""
