"""Passes over rows that torch lacks, compiled by numba for processors and by Triton for GPUs; loaded when used."""
