# shellcheck shell=bash
# Certificates, tokens and kubeconfigs, all new for each start.

make_credentials() {
  mkdir -p "$state/pki" "$state/kubeconfig"
  make_certificates >"$state/log/openssl.log" 2>&1
  make_tokens
}

make_certificates() {
  local pki=$state/pki key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/service-accounts.key"
  openssl req -x509 "${key[@]}" -keyout "$pki/apiserver.key" -out "$pki/apiserver.crt" -days 365 \
    -subj /CN=kube-apiserver -addext basicConstraints=critical,CA:FALSE \
    -addext "subjectAltName=IP:127.0.0.1,IP:$host_ip,IP:$service_ip,DNS:localhost,\
DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  # what the API server shows to kubelets, for logs and exec
  openssl req -x509 "${key[@]}" -keyout "$pki/ca.key" -out "$pki/ca.crt" -days 365 -subj /CN=kubelet-clients
  openssl req "${key[@]}" -keyout "$pki/kubelet-client.key" -out "$pki/kubelet-client.csr" \
    -subj /O=system:masters/CN=kube-apiserver
  openssl x509 -req -in "$pki/kubelet-client.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial \
    -days 365 -out "$pki/kubelet-client.crt"
}

make_tokens() {
  local node
  : >"$state/pki/tokens.csv"
  chmod 600 "$state/pki/tokens.csv"
  make_user admin "https://127.0.0.1:$api_port" admin system:masters
  make_user controller-manager "https://127.0.0.1:$api_port" system:kube-controller-manager
  make_user scheduler "https://127.0.0.1:$api_port" system:kube-scheduler
  make_user proxy "https://$host_ip:$api_port" system:kube-proxy
  for node in $(node_names); do
    make_user "$node" "https://$host_ip:$api_port" "system:node:$node" system:nodes
  done
  mv "$state/kubeconfig/admin" "$kubeconfig"
}

# make_user FILE SERVER USER [GROUP]
make_user() {
  local token
  token=$(openssl rand -hex 24)
  echo "$token,$3,$3${4:+,$4}" >>"$state/pki/tokens.csv"
  (umask 077 && cat >"$state/kubeconfig/$1") <<EOF
apiVersion: v1
kind: Config
clusters:
- name: $name
  cluster:
    server: $2
    certificate-authority-data: $(base64 -w0 "$state/pki/apiserver.crt")
users:
- name: $1
  user:
    token: $token
contexts:
- name: $name
  context:
    cluster: $name
    user: $1
current-context: $name
EOF
}
