"""The same hub to be tried by anybody, without root: every name may log in with the password in THPLAB_TRIAL_PASSWORD,
all servers are processes of the user who runs it, and homes are folders below THPLAB_TRIAL_HOMES. Not for a class.

Timeouts are in THPLAB_TRIAL_IDLE (seconds), so that one can watch kernels and servers end.
"""

import os
import sys

c = get_config()  # noqa: F821
# By its full name: one that is not found is passed over in silence.
load_subconfig(os.path.join(os.path.dirname(os.path.abspath(__file__)), "jupyterhub_config.py"))  # noqa: F821

IDLE = os.environ.get("THPLAB_TRIAL_IDLE", "1200")

PORT = int(os.environ.get("THPLAB_TRIAL_PORT", "8000"))
c.JupyterHub.bind_url = f"http://127.0.0.1:{PORT}"
c.JupyterHub.hub_port = PORT + 1
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{PORT + 2}"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["THPLAB_TRIAL_PASSWORD"]
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = os.path.join(os.environ["THPLAB_TRIAL_HOMES"], "{username}")
# No limits: a plain process has none.
c.Spawner.mem_limit = None
c.Spawner.cpu_limit = None
c.Spawner.args = ["--allow-root", f"--MappingKernelManager.cull_idle_timeout={IDLE}"]
c.JupyterHub.services = [
    {
        "name": "cull-idle",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={IDLE}", "--cull-every=10"],
    }
]
