"""JupyterHub for a class on one machine: `jupyterhub --config jupyterhub_config.py`. docs/class.md tells the rest.

Learners are users of the machine (PAM), and each server is a systemd unit with limits of its own.
"""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821
HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent  # thplab and jupyterhub-singleuser are installed beside JupyterHub

c.JupyterHub.bind_url = "http://127.0.0.1:8000"  # what does TLS stands in front of it

c.JupyterHub.authenticator_class = "pam"
c.Authenticator.allow_existing_users = True
# c.Authenticator.allowed_users = {"ada", "grace"}

c.JupyterHub.spawner_class = "systemd"
c.Spawner.cmd = [str(HERE / "start")]
c.Spawner.environment = {
    "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}",
    "JUPYTER_CONFIG_PATH": str(HERE),  # jupyter_server_config.py
    "OPENBLAS_NUM_THREADS": "1",  # numpy starts no thread for each CPU
}
c.Spawner.mem_limit = "1G"
c.Spawner.cpu_limit = 2.0
# A class begins at once, and a machine with few CPUs is busy then for some minutes.
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300

# A server that did nothing for an hour ends; the next login starts it again.
c.JupyterHub.services = [
    {
        "name": "cull-idle",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=3600", "--cull-every=300"],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "cull-idle",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["cull-idle"],
    }
]
