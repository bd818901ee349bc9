"""Pictures: functions of arrays that draw on a matplotlib axes, a file each."""
