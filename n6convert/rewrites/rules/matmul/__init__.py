"""Rules for products of matrices and linear layers."""
