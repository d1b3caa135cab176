"""What the playbooks compute, decide and run: pure functions for Ansible's plugins, and the commands behind `make`."""
