"""k2alert: collect runs from the forge, record them, measure the window, judge the rules, alert, notify, expose."""

__version__ = "0.1.0"
