"""Drawn pedestrian camera sites in Market-1501's layout: a domain gap that needs no download (docs/sites.md)."""

from reid.data.sites.render import render_site
from reid.data.sites.settings import RenderSettings
from reid.data.sites.styles import SITES, Photometry, SiteStyle

__all__ = ["SITES", "Photometry", "RenderSettings", "SiteStyle", "render_site"]
