"""Becomes the sensor: StackStorm starts a sensor as a Python class and stops it by a signal to that process."""

import json
import os

from st2reactor.sensor.base import Sensor

BINARY = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "actions", "bin", "dashboard_sensor")


class DashboardSensor(Sensor):
    def setup(self):
        pass

    def run(self):
        # A child would outlive the signal; the program that takes this one's place gets it itself.
        environment = dict(os.environ, LAAS_CONFIG=json.dumps(self.config))
        os.execve(BINARY, [BINARY], environment)

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
