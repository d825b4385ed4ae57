package accesslog

var tenants = []string{
	"amberline", "birch-labs", "copperfield", "deltaworks", "eastgate", "fernweh", "granite-io",
	"harbour", "inkwell", "juniper-co", "kestrel", "łódź-logistics",
}

var apis = []struct{ name, method, path []byte }{
	{[]byte("ListOrders"), []byte("GET"), []byte("/v1/orders")},
	{[]byte("GetOrder"), []byte("GET"), []byte("/v1/orders/items")},
	{[]byte("CreateOrder"), []byte("POST"), []byte("/v1/orders")},
	{[]byte("UpdateOrder"), []byte("PUT"), []byte("/v1/orders/items")},
	{[]byte("DeleteOrder"), []byte("DELETE"), []byte("/v1/orders/items")},
	{[]byte("SearchCatalog"), []byte("GET"), []byte("/v1/catalog/search")},
}

var statuses = []int64{200, 200, 200, 200, 200, 200, 200, 201, 204, 304, 404, 500}

var regions = [][]byte{[]byte("us-west-2"), []byte("us-east-1"), []byte("eu-central-1"), []byte("ap-northeast-1")}

var agents = [][]byte{
	[]byte("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
	[]byte("orders-sdk-go/1.9.2 (linux; amd64) go1.25"),
	[]byte("orders-sdk-python/4.0.1 (Linux 6.12; CPython 3.13.2)"),
	[]byte("orders-sdk-js/3.11.0 (node 24.4.1; linux; arm64) undici/7.11.0"),
}
