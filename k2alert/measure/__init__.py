"""measure: recorded facts come in; exact values over any window at any time go out. Pure."""
