"""The public site of the project: everything that can be read or stepped, as pages that need no server and no network.

    PYTHONPATH=.ci python -m website build/site

A page is a name below the site, with `/`, and its HTML. What is made from a file of the repository has the name of that
file with the ending .html, so the links of the repository lead from page to page as they are.
"""
