"""alert: findings and the alerts before come in, the alerts after go out; pure."""
