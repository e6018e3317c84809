"""Floor 1½: what a network is trained for; numpy alone, and torch on use.

The rest of the program asks the task, and never which one it is.
"""

from napari_unet.tasks.base import FILLED as FILLED
from napari_unet.tasks.base import OUTLINES as OUTLINES
from napari_unet.tasks.base import Decision as Decision
from napari_unet.tasks.base import Look as Look
from napari_unet.tasks.base import Task as Task
from napari_unet.tasks.base import ValidationScore as ValidationScore
from napari_unet.tasks.base import scores_in_words as scores_in_words
from napari_unet.tasks.image import DENOISE as DENOISE
from napari_unet.tasks.image import IMAGE as IMAGE
from napari_unet.tasks.table import FINER as FINER
from napari_unet.tasks.table import PAINTED_TASKS as PAINTED_TASKS
from napari_unet.tasks.table import TASKS as TASKS
from napari_unet.tasks.table import ClassTable as ClassTable
from napari_unet.tasks.table import check_classes_painted as check_classes_painted
from napari_unet.tasks.table import class_table as class_table
from napari_unet.tasks.table import count_answers as count_answers
from napari_unet.tasks.table import target_of as target_of
from napari_unet.tasks.table import task_in_layers as task_in_layers
from napari_unet.tasks.table import task_of as task_of
from napari_unet.tasks.table import task_of_layer as task_of_layer
