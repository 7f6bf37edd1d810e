"""What schemas do not say: how pods are locked in, that names lead somewhere, and that ports are closed.

usage: policies.py FILE…
"""

import copy
import pathlib
import re
import sys

import yaml

INTERNAL_PORTS = {8082, 8090}


class Manifests:
    def __init__(self, documents):
        self.documents = documents
        self.faults = []

    def of(self, *kinds):
        return [document for document in self.documents if document["kind"] in kinds]

    def require(self, holds, document, rule):
        if not holds:
            self.faults.append(f"{document['kind']}/{document['metadata']['name']}: {rule}")

    def check(self):
        for workload in self.of("Deployment", "Job"):
            self.check_pod(workload, workload["spec"]["template"]["spec"])
        for deployment in self.of("Deployment"):
            self.check_deployment(deployment)
        for service in self.of("Service"):
            self.check_service(service)
        for policy in self.of("NetworkPolicy"):
            self.check_network_policy(policy)
        self.check_routes()
        return self.faults

    def check_pod(self, workload, pod):
        need = lambda holds, rule: self.require(holds, workload, rule)
        security = pod.get("securityContext", {})
        need(security.get("runAsNonRoot") is True, "runAsNonRoot")
        need(isinstance(security.get("runAsUser"), int) and security["runAsUser"] > 0, "a numeric user that is not root")
        need(security.get("fsGroup") == security.get("runAsGroup"), "secrets belong to the group of the process")
        need(security.get("seccompProfile", {}).get("type") == "RuntimeDefault", "the runtime's seccomp profile")
        need(pod.get("automountServiceAccountToken") is False, "no token of a service account")
        need(pod.get("enableServiceLinks") is False, "no variables of other Services")
        need(not any(pod.get(name) for name in ["hostNetwork", "hostPID", "hostIPC"]), "nothing of the host's")
        need(not any("hostPath" in volume for volume in pod.get("volumes", [])), "no folder of the host's")
        files = {
            f"/run/naru/{item['path']}"
            for volume in pod["volumes"]
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        for container in pod["containers"] + pod.get("initContainers", []):
            self.check_container(workload, container)
            variables = {variable["name"]: variable.get("value", "") for variable in container["env"]}
            need(len(variables) == len(container["env"]), "no variable twice")
            for name, value in variables.items():
                is_file = name.endswith("_FILE") or name == "NARU_FCM_SERVICE_ACCOUNT"
                need(not is_file or value in files, f"{name} is a file that is mounted")
                need(not re.fullmatch("(DATABASE|REDIS)_URL|NARU_.*SECRET", name), f"{name} is a secret: as a file")
            need(not any("secretKeyRef" in variable.get("valueFrom", {}) for variable in container["env"]), "no secret in a variable")

    def check_container(self, workload, container):
        need = lambda holds, rule: self.require(holds, workload, rule)
        security = container.get("securityContext", {})
        need(security.get("allowPrivilegeEscalation") is False, "no escalation of privileges")
        need(not security.get("privileged"), "not privileged")
        need(security.get("readOnlyRootFilesystem") is True, "a read-only root")
        need(security.get("capabilities") == {"drop": ["ALL"]}, "no capability")
        resources = container.get("resources", {})
        for kind in ["requests", "limits"]:
            for name in ["cpu", "memory"]:
                need(name in resources.get(kind, {}), f"resources.{kind}.{name}")
        image, _, digest = container["image"].partition("@")
        tag = image.rpartition("/")[2].partition(":")[2]
        need(digest or tag not in ["", "latest"], "an image of a version")
        need(all(mount.get("readOnly") for mount in container.get("volumeMounts", [])), "mounts are read-only")

    def check_deployment(self, deployment):
        need = lambda holds, rule: self.require(holds, deployment, rule)
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        labels, pod = spec["template"]["metadata"]["labels"], spec["template"]["spec"]
        selected = lambda selector: selector["matchLabels"].items() <= labels.items()
        need(selected(spec["selector"]), "it selects its own pods")
        budgets = [budget for budget in self.of("PodDisruptionBudget") if selected(budget["spec"]["selector"])]
        need([budget["spec"]["maxUnavailable"] for budget in budgets] == [1], "one PodDisruptionBudget")
        spread = pod.get("topologySpreadConstraints", [])
        keys = {constraint["topologyKey"] for constraint in spread if selected(constraint["labelSelector"])}
        need(keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, "spread over zones and nodes")
        scalers = [scaler for scaler in self.of("HorizontalPodAutoscaler") if scaler["spec"]["scaleTargetRef"]["name"] == name]
        need(len(scalers) == ("replicas" not in spec), "either replicas or one autoscaler")
        need(spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, "a roll-out takes nothing away first")
        accounts = [account["metadata"]["name"] for account in self.of("ServiceAccount")]
        need(pod["serviceAccountName"] in accounts, "its service account is there")
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        need(ports["internal"] in INTERNAL_PORTS and ports["public"] not in INTERNAL_PORTS, "ports under their names")
        for probe, path in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
            need(container.get(probe, {}).get("httpGet") == {"path": path, "port": "internal"}, f"{probe} on the internal port")
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        need(0 < pause < pod["terminationGracePeriodSeconds"], "a pause before it is told to end")
        order = [variable["name"] for variable in container["env"]]
        for variable in container["env"]:
            for used in re.findall(r"\$\((\w+)\)", variable.get("value", "")):
                before = order[: order.index(variable["name"])]
                need(used in before, f"{variable['name']} names {used}, which must stand before it")

    def check_service(self, service):
        selector = service["spec"]["selector"].items()
        pods = [deployment["spec"]["template"] for deployment in self.of("Deployment")]
        chosen = [pod["spec"]["containers"][0] for pod in pods if selector <= pod["metadata"]["labels"].items()]
        self.require(len(chosen) == 1, service, "pods of one Deployment")
        for port in service["spec"]["ports"]:
            names = [named["name"] for container in chosen for named in container["ports"]]
            self.require(port["targetPort"] in names, service, f"its pods have the port {port['targetPort']}")
            is_internal = port["targetPort"] == "internal"
            self.require(not is_internal or service["spec"]["type"] == "ClusterIP", service, "internal ports are never public")

    def check_network_policy(self, policy):
        self.require("Ingress" in policy["spec"]["policyTypes"], policy, "it is about who comes in")
        component = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        peer = {"api-server": "chat-gateway", "chat-gateway": "api-server"}.get(component)
        for rule in policy["spec"]["ingress"]:
            ports = {port["port"] for port in rule["ports"]}
            if ports & INTERNAL_PORTS:
                own = [one for one in rule.get("from", []) if "namespaceSelector" not in one and "ipBlock" not in one]
                peers = [one["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for one in own]
                self.require(peers == [peer], policy, "internal ports are for the other service")
        targets = [deployment["spec"]["template"]["metadata"]["labels"] for deployment in self.of("Deployment", "Job")]
        selector = policy["spec"]["podSelector"]["matchLabels"].items()
        # The migration may be somebody else's, the policy about it is here for the other ways.
        self.require(component == "migrate" or any(selector <= labels.items() for labels in targets), policy, "it selects pods")

    def check_routes(self):
        ports = {(service["metadata"]["name"], key): port["targetPort"] for service in self.of("Service") for port in service["spec"]["ports"] for key in (port["name"], port["port"])}
        for ingress in self.of("Ingress"):
            for rule in ingress["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    backend = path["backend"]["service"]
                    target = ports.get((backend["name"], backend["port"]["name"]))
                    self.require(target == "public", ingress, "it leads to a public port")
        for route in self.of("HTTPRoute"):
            for backend in (backend for rule in route["spec"]["rules"] for backend in rule["backendRefs"]):
                self.require(ports.get((backend["name"], backend["port"])) == "public", route, "it leads to a public port")


# That the rules see what they are for: each breaks one thing of a Deployment.
BREAKS = [
    ("runAsNonRoot", lambda pod, container: pod["securityContext"].pop("runAsNonRoot")),
    ("not root", lambda pod, container: pod["securityContext"].update(runAsUser=0)),
    ("service account", lambda pod, container: pod.pop("automountServiceAccountToken")),
    ("host", lambda pod, container: pod.update(hostNetwork=True)),
    ("read-only root", lambda pod, container: container["securityContext"].update(readOnlyRootFilesystem=False)),
    ("capability", lambda pod, container: container["securityContext"]["capabilities"].update(add=["NET_ADMIN"])),
    ("limits.memory", lambda pod, container: container["resources"]["limits"].pop("memory")),
    ("version", lambda pod, container: container.update(image="registry:5000/naru:latest")),
    ("version", lambda pod, container: container.update(image="registry:5000/naru")),
    ("startupProbe", lambda pod, container: container.pop("startupProbe")),
    ("pause", lambda pod, container: container.pop("lifecycle")),
    ("is a secret", lambda pod, container: container["env"].append({"name": "REDIS_URL", "value": "redis://h"})),
    ("is mounted", lambda pod, container: pod["volumes"][0]["projected"]["sources"].pop(0)),
    ("spread", lambda pod, container: pod["topologySpreadConstraints"].pop()),
]


def prove(documents):
    for words, broken in BREAKS:
        changed = copy.deepcopy(documents)
        pod = next(document for document in changed if document["kind"] == "Deployment")["spec"]["template"]["spec"]
        broken(pod, pod["containers"][0])
        faults = Manifests(changed).check()
        assert any(words in fault for fault in faults), f"nobody notices: {words}; only {faults}"


def main():
    faults = []
    for file in sys.argv[1:]:
        documents = list(yaml.safe_load_all(pathlib.Path(file).read_text()))
        found = Manifests(documents).check()
        faults += [f"{file}: {fault}" for fault in found]
        if not found:
            prove(documents)
    print("\n".join(faults) or f"{len(sys.argv) - 1} renderings keep the policies")
    sys.exit(bool(faults))


main()
