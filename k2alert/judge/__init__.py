"""judge: rules and values come in; findings go out: true, false, no data or unknown. Pure."""
