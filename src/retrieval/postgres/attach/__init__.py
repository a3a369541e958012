"""Tables of applications: found out about, followed by triggers, brought into items."""
