from .application import asgi_application as asgi_application
from .server import serve as serve
from .settings import ServeSettings as ServeSettings
