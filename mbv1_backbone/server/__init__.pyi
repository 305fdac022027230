from .app import create_app as create_app
from .client import Client as Client, ServiceError as ServiceError
from .limits import Limits as Limits
from .service import Service as Service
