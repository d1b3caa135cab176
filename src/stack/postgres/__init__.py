"""What the roles of the database compute: parameters, connections, schedules, times, backups and logins."""
