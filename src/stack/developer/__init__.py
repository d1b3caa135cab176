"""What somebody who changes the service needs beside kubectl."""
