"""The server of one learner, on one machine and in the image."""

from pathlib import Path

c = get_config()  # noqa: F821

c.ServerApp.root_dir = str(Path.home() / "thplab")
c.ServerApp.default_url = "/lab/tree/notebooks/00_the_whole_story.ipynb"

# A kernel in which nothing ran for twenty minutes ends, also below a notebook that is still open in some browser.
# What the learner has done is in the notebook and in thplab-progress.json; running the cells again brings it back.
c.MappingKernelManager.cull_idle_timeout = 20 * 60
c.MappingKernelManager.cull_interval = 60
c.MappingKernelManager.cull_connected = True

# Nothing needs the internet.
c.LabApp.extension_manager = "readonly"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
