"""Distribution vectors: what training on a dataset did to the weights, and their geometry."""
