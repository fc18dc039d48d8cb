# frozen_string_literal: true

require "open3"
require "uri"
require "support/faults/server"

module Specs
  # A PostgreSQL that takes connections from 127.0.0.1 by TLS only, with a certificate for the name localhost of an
  # authority of its own; the user "certified" must show one too.
  class TlsServer < Faults::Server
    # @param name [String] of a file in its folder: ca.crt, other.crt, client.crt, client.key
    # @return [String]
    def file(name)
      File.join(@folder, name)
    end

    # @param host [String] by which it is called
    # @param user [String]
    # @param settings [Hash] of the URL
    def tls_url(host: "localhost", user: "stepwell", **settings)
      "postgres://#{user}@#{host}:#{port}/postgres?#{URI.encode_www_form(settings)}"
    end

    # @return [String] of the server by its socket, past all that
    def local_url
      "postgres://stepwell@#{@folder.gsub("/", "%2F")}:#{port}/postgres?sslmode=disable"
    end

    private

    def create_data
      super
      make_certificates
      File.write(File.join(data, "pg_hba.conf"), <<~HBA)
        local   all all                    trust
        hostssl all certified 127.0.0.1/32 cert
        hostssl all all       127.0.0.1/32 trust
      HBA
      File.write(File.join(data, "postgresql.auto.conf"), <<~SETTINGS)
        ssl = on
        ssl_cert_file = '#{file("server.crt")}'
        ssl_key_file = '#{file("server.key")}'
        ssl_ca_file = '#{file("ca.crt")}'
      SETTINGS
      FileUtils.chown_R(USER, nil, @folder) if USER
    end

    def make_certificates
      authority("ca")
      authority("other")
      certificate("server", "localhost")
      certificate("client", "certified")
    end

    def authority(name)
      openssl("req", "-x509", *new_key(name), "-out", file("#{name}.crt"), "-days", "2", "-subj", "/CN=#{name}")
    end

    def certificate(name, subject)
      openssl("req", *new_key(name), "-out", file("#{name}.csr"), "-subj", "/CN=#{subject}")
      File.write(file("#{name}.ext"), "subjectAltName=DNS:#{subject}\n")
      openssl("x509", "-req", "-in", file("#{name}.csr"), "-CA", file("ca.crt"), "-CAkey", file("ca.key"),
              "-CAcreateserial", "-out", file("#{name}.crt"), "-days", "2", "-extfile", file("#{name}.ext"))
    end

    def new_key(name)
      key = file("#{name}.key")
      ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
    end

    def openssl(*arguments)
      output, status = Open3.capture2e("openssl", *arguments)
      raise "openssl #{arguments.first}: #{output}" unless status.success?
    end
  end
end
