"""Camera sites that are made here, in Market-1501's layout: a domain gap that needs no download (docs/sites.md)."""

from reid.sites.drawn.settings import DrawnSettings
from reid.sites.render import render_site
from reid.sites.rendered.settings import RenderedSettings
from reid.sites.settings import SiteSettings

__all__ = ["DrawnSettings", "RenderedSettings", "SiteSettings", "render_site"]
