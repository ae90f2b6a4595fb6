from .comparison_page import write_comparison as write_comparison
from .exports import FORMATS as FORMATS
from .exports import Format as Format
from .exports import export_report as export_report
from .methods_page import PAGE as PAGE
from .methods_page import MethodsComparison as MethodsComparison
from .methods_page import write_methods as write_methods
from .page import write_report as write_report
