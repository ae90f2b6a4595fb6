"""Passes over rows that torch lacks, compiled by numba for processors and by Triton for GPUs; loaded when used."""

from subprocess import SubprocessError

FAILURES: tuple[type[Exception], ...] = (RuntimeError, OSError, ValueError, TypeError, SubprocessError)
"""What a pass may raise at its first call beside the ``ERRORS`` of its module: it is compiled then, for which a C
compiler and a driver are needed that fit."""
