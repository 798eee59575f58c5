"""`python -m k2alert` is the command `k2alert`."""

from k2alert.cli import main

main(prog_name="k2alert")
