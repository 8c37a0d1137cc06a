from reid.api import Answer as Answer
from reid.api import Entry as Entry
from reid.api import Filter as Filter
from reid.api import Gallery as Gallery
from reid.api import Model as Model
from reid.api import evaluate as evaluate
from reid.api import load as load
from reid.api import open_gallery as open_gallery
from reid.errors import InputError as InputError

__version__: str
