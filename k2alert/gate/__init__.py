"""Quality gates: report files come in, a verdict goes out, for use inside a pipeline.

The files are read by `formats`, as the daemon reads artifacts, and judged as it judges them; what differs is that there
is no history here, only files.
"""
