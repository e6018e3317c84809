"""Another machine that trains: asked for where the device is chosen, and looked at before."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from qtpy.QtWidgets import QCheckBox, QComboBox, QSizePolicy, QVBoxLayout, QWidget

from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, add_row, button, choice, form_layout
from napari_unet.widgets.common.preferences import preferences, remember_machine
from napari_unet.widgets.common.task import Failed, task_named

if TYPE_CHECKING:
    import threading

    from napari_unet.widgets.common.session import Session
    from napari_unet.widgets.common.task import Outcome

ELSEWHERE = "elsewhere"  # in a box of devices
_EXAMPLE = "ssh://me@gpu1"
_ADDRESS_HELP = (
    f"The machine that trains, as {_EXAMPLE}: a name that your own ssh knows, which lets you in "
    "without a password. napari-unet-paint must be installed there "
    f"(its Python elsewhere: {_EXAMPLE}/opt/unet/bin/python). Or tls:// or tcp://HOST:PORT of a "
    "dask cluster."
)


class MachinePanel(QWidget):
    """Asks for the address of the machine, below a box of devices that gets one choice more."""

    def __init__(self, session: Session, device_box: QComboBox) -> None:
        super().__init__()
        self._session, self._device_box = session, device_box
        self._task = task_named(session, "Looking at another machine")
        device_box.addItem("another machine…", ELSEWHERE)
        self.address_box: Final = QComboBox()
        self.address_box.setEditable(True)
        self.address_box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.address_box.setMinimumContentsLength(8)
        self.address_box.setAccessibleName("Address of the other machine")
        self.address_box.setToolTip(_ADDRESS_HELP)
        if (line := self.address_box.lineEdit()) is not None:
            line.setPlaceholderText(_EXAMPLE)
            line.returnPressed.connect(self.look)
        self.trust_box: Final = QCheckBox("Only people I trust reach this port")
        self.trust_box.setAccessibleName("Only people I trust reach this port")
        self.trust_box.setToolTip(
            "tcp:// is not encrypted: whoever reaches the port can run programs there, and here."
        )
        self.look_button: Final = button(
            "Connect", "See whether it answers, and which GPU it has.", self.look
        )
        self.note: Final = Note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.address_box)
        layout.addWidget(self.trust_box)
        layout.addLayout(ButtonGrid(2, (self.look_button,)))
        layout.addWidget(self.note)
        self._offer_known()
        self.address_box.editTextChanged.connect(self._choose_address)
        self.trust_box.toggled.connect(self._choose)
        device_box.currentIndexChanged.connect(self._choose)
        session.machine_chosen.connect(self._show_choice)
        self._task.started.connect(self._show_looking)
        self._task.ended.connect(self._show_found)
        self._show_choice()

    def look(self) -> None:
        """See in the background whether the machine answers, and what it is."""
        on, trusted = self._session.on, self._session.trusted
        if on:
            self._task.start(partial(_look, on, trusted))
        elif on is not None:
            self.note.setText(f"Give its address first, as {_EXAMPLE}.")

    def _choose_address(self) -> None:
        self.trust_box.blockSignals(True)
        self.trust_box.setChecked(False)  # another port is another question
        self.trust_box.blockSignals(False)
        self._choose()

    def _choose(self) -> None:
        elsewhere = self._device_box.currentData() == ELSEWHERE
        on = self.address_box.currentText().strip()
        tcp = on.startswith("tcp:")
        self.note.clear()
        self._session.choose_machine(
            on if elsewhere else None, elsewhere and tcp and self.trust_box.isChecked()
        )

    def _show_choice(self) -> None:
        """Show what was chosen, here or in another dock."""
        on = self._session.on
        self.setVisible(on is not None)
        if (self._device_box.currentData() == ELSEWHERE) != (on is not None):
            at = 0 if on is None else self._device_box.findData(ELSEWHERE)
            self._device_box.setCurrentIndex(at)
        if on is None:
            return
        if on != self.address_box.currentText().strip():
            self.address_box.blockSignals(True)
            self.address_box.setEditText(on)
            self.address_box.blockSignals(False)
        self.trust_box.setVisible(on.startswith("tcp:"))
        self.trust_box.setChecked(self._session.trusted)

    def _show_looking(self) -> None:
        self.look_button.setEnabled(False)
        self.note.setText(f"Looking at {self._session.on}…")

    def _show_found(self, outcome: Outcome) -> None:
        self.look_button.setEnabled(True)
        if isinstance(outcome, Failed):
            self.note.setText(outcome.text)
            return
        on, text = outcome.result
        self.note.setText(text)
        remember_machine(on)
        self._offer_known()

    def _offer_known(self) -> None:
        """Offer the machines that were used before; the newest one where none is named."""
        known = preferences().machines.split()
        now = self.address_box.currentText() or (known[0] if known else "")
        self.address_box.blockSignals(True)
        self.address_box.clear()
        self.address_box.addItems(known)
        self.address_box.setEditText(now)
        self.address_box.blockSignals(False)


def training_place(session: Session) -> QWidget:
    """Return a choice between this computer and another machine."""
    place, form = QWidget(), form_layout()
    box = choice([("this computer", "")], "Which machine trains; what is painted is sent there.")
    place.setLayout(form)
    add_row(form, "Train on", box)
    form.addRow(MachinePanel(session, box))
    return place


def device_of(box: QComboBox) -> str:
    """Return the device that a box shows; another machine chooses its own."""
    device = box.currentData()
    return "auto" if device == ELSEWHERE else str(device)


def _look(on: str, trusted: bool, stop: threading.Event) -> tuple[str, str]:
    """Return the address of a machine that answers, and what it is."""
    from napari_unet.remote.machines import look_at  # with torch

    return on, look_at(on, trusted)
