<?php
// The same in PHP.
header('Content-Type: text/plain');
if ($_SERVER['REQUEST_METHOD'] === 'GET') {
    echo $_SERVER['REQUEST_URI'];
    exit;
}
$status = (int) substr($_SERVER['REQUEST_URI'], 1, 3);
http_response_code($status ?: 401);
if ($status === 302) {
    header('Location: /login');
}
