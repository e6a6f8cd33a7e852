package main

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func (a *app) certificateRequestCommand() *cobra.Command {
	var (
		subject pkix.Name
		names   []string
		ips     []net.IP
		version int
	)
	cmd := &cobra.Command{
		Use:   "certificate-request KEY",
		Short: "Make a request for a certificate of an asymmetric key, signed with it, in PEM",
		Args:  exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if subject.CommonName == "" && len(names)+len(ips) == 0 {
				return misuse("for whom? Give --common-name, --dns or --ip")
			}
			return a.withClient(func(c *client.Client) error {
				signer, err := c.Signer(cmd.Context(), args[0], version)
				if err != nil {
					return err
				}
				der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, DNSNames: names, IPAddresses: ips}, signer)
				if err != nil {
					return err
				}
				text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
				if a.output == "json" {
					return a.print(cmd, map[string]string{"request": string(text)}, nil)
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&subject.CommonName, "common-name", "", "Common name of the subject.")
	cmd.Flags().StringSliceVar(&subject.Organization, "organization", nil, "Organization of the subject.")
	cmd.Flags().StringSliceVar(&names, "dns", nil, "DNS names, separated by commas.")
	cmd.Flags().IPSliceVar(&ips, "ip", nil, "IP addresses, separated by commas.")
	addVersionFlag(cmd, &version)
	return cmd
}
