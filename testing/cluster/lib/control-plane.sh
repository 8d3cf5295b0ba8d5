# shellcheck shell=bash
# etcd, API server, controller manager and scheduler, as processes of the machine.

control_plane=(etcd apiserver controller-manager scheduler registry)

start_etcd() {
  local url=http://127.0.0.1
  # a test cluster's data need not survive a power cut
  start etcd "$binary" etcd --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "$url:$etcd_port" --advertise-client-urls "$url:$etcd_port" \
    --listen-peer-urls "$url:$etcd_peer_port" --initial-advertise-peer-urls "$url:$etcd_peer_port" \
    --initial-cluster "default=$url:$etcd_peer_port"
}

# Mutating policies let tests put containers into pods, as meshes do.
start_apiserver() {
  local pki=$state/pki
  start apiserver "$binary" kube-apiserver --etcd-servers="http://127.0.0.1:$etcd_port" \
    --secure-port="$api_port" --advertise-address="$host_ip" --service-cluster-ip-range="$service_cidr" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --service-account-key-file="$pki/service-accounts.key" \
    --service-account-signing-key-file="$pki/service-accounts.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged \
    --token-auth-file="$pki/tokens.csv" --client-ca-file="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP \
    --feature-gates=MutatingAdmissionPolicy=true --runtime-config=admissionregistration.k8s.io/v1beta1=true \
    --max-requests-inflight=2000 --max-mutating-requests-inflight=1000
}

# A lost node becomes not ready within seconds, so that its tests are short.
start_controller_manager() {
  local config=$state/kubeconfig/controller-manager
  start controller-manager "$binary" kube-controller-manager --kubeconfig="$config" \
    --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
    --bind-address=127.0.0.1 --secure-port="$controller_manager_port" --cert-dir="$state/pki" \
    --leader-elect=false --use-service-account-credentials \
    --service-account-private-key-file="$state/pki/service-accounts.key" --root-ca-file="$state/pki/apiserver.crt" \
    --node-monitor-period=1s --node-monitor-grace-period=8s --kube-api-qps=500 --kube-api-burst=1000
}

start_scheduler() {
  local config=$state/kubeconfig/scheduler
  start scheduler "$binary" kube-scheduler --kubeconfig="$config" \
    --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
    --bind-address=127.0.0.1 --secure-port="$scheduler_port" --cert-dir="$state/pki" \
    --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000
}

kubectl() { "$binary" kubectl --kubeconfig "$kubeconfig" --cache-dir "$state/cache" "$@"; }

api_ready() { [[ $(kubectl get --raw /readyz --request-timeout 2s 2>/dev/null) == ok ]]; }
